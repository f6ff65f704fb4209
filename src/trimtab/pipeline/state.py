"""A snapshot, compiled: what one generation of routes, releases, providers and keys means for a worker."""

import hashlib
from collections.abc import Callable, Collection

import msgspec

from trimtab.access import KeyRing
from trimtab.catalog import Catalog
from trimtab.providers import reads_sources
from trimtab.types import (
    Deadlines,
    Policy,
    Provider,
    ProviderSpec,
    Release,
    RouteSpec,
    Snapshot,
    TargetSpec,
    WeightedRelease,
)
from trimtab.types.errors import AmbiguousModel, CallerError, ConfigError, ModelNotFound

_PLANS_KEPT = 4096
"""Resolved names remembered per generation; callers may invent names, so it is bounded."""
_encode = msgspec.json.Encoder().encode


class Target:
    """One way to serve a model, with what we have seen of it lately."""

    __slots__ = (
        "cool_until",
        "deadlines",
        "failures",
        "in_flight",
        "label",
        "model_json",
        "name",
        "provider",
    )

    def __init__(self, provider: Provider, spec: TargetSpec, deadlines: Deadlines) -> None:
        self.provider = provider
        self.name = spec.model
        self.model_json = msgspec.Raw(_encode(spec.model))
        self.label = f"{spec.provider}/{spec.model}"
        self.deadlines = deadlines
        self.in_flight = 0
        self.failures = 0
        """Failures in a row."""
        self.cool_until = 0.0
        """Loop time until which other targets are preferred."""

    def failed(self, now: float) -> None:
        """Note a failure: prefer others for a second more each time, at most 30."""
        self.failures += 1
        self.cool_until = now + min(30.0, float(self.failures))

    def worked(self) -> None:
        """Note an answer."""
        if self.failures:
            self.failures = 0
            self.cool_until = 0.0


class ModelPlan:
    """One model and the targets that serve it."""

    __slots__ = ("model", "targets")

    def __init__(self, model: str, targets: list[Target]) -> None:
        self.model = model
        self.targets = targets

    def pick(self, now: float, avoid: Collection[int]) -> Target | None:
        """Return the least busy target that is not cooling, else the one that cools soonest; none if all avoided."""
        if not avoid and len(self.targets) == 1:
            return self.targets[0]
        best: Target | None = None
        for target in self.targets:
            if id(target) in avoid:
                continue
            if best is None or _rank(target, now) < _rank(best, now):
                best = target
        return best


def _rank(target: Target, now: float) -> tuple[float, int]:
    return (max(0.0, target.cool_until - now), target.in_flight)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a name resolved to: everything the attempt needs, made once per generation and name."""

    release: str
    models: tuple[ModelPlan, ...]
    defaults: dict[str, msgspec.Raw]
    """The release's parameters, encoded."""
    route: str = ""
    channel: str = ""
    arm: str = ""
    header: tuple[bytes, bytes] = (b"x-trimtab-release", b"")
    """What replies say of the release."""
    substituted: bool = False
    """The default model stands in for a name that nobody serves."""


class State:
    """One generation. Immutable but for what targets have seen and the memory of resolved names."""

    def __init__(
        self,
        snapshot: Snapshot,
        make: Callable[[ProviderSpec], Provider],
        previous: "State | None" = None,
    ) -> None:
        """Compile a snapshot; providers whose specification did not change are taken over.

        Raises:
            ConfigError: a provider cannot be made, or a route names what does not exist.
        """
        self.snapshot = snapshot
        self.generation = snapshot.generation
        self.policy: Policy = snapshot.policy
        self.ring = KeyRing(snapshot.keys)
        same = previous is not None and previous.snapshot.catalog == snapshot.catalog
        self.catalog: Catalog = (
            previous.catalog if previous is not None and same else Catalog.load(snapshot.catalog or None)
        )
        self.specs = {spec.name: spec for spec in snapshot.providers}
        self.providers: dict[str, Provider] = {}
        old = previous.providers if previous is not None else {}
        for name, spec in self.specs.items():
            unchanged = (
                previous is not None
                and previous.specs.get(name) == spec
                and previous.policy.max_reply_bytes == self.policy.max_reply_bytes
                and (previous.snapshot.read_us == snapshot.read_us or not reads_sources(spec))
            )
            self.providers[name] = old[name] if unchanged else make(spec)
        self._targets: dict[str, Target] = {}
        if previous is not None:
            kept = {id(provider) for provider in self.providers.values()}
            self._targets = {label: t for label, t in previous._targets.items() if id(t.provider) in kept}
        self._routes = {route.name: route for route in snapshot.routes}
        self._plans: dict[str, Plan] = {}
        self._arms: dict[str, Plan] = {}
        for route in snapshot.routes:
            for channel, arms in route.channels.items():
                for weighted in arms:
                    self._arms[_arm_key(route.name, channel, weighted)] = self._arm_plan(
                        route, channel, weighted
                    )

    def resolve(self, name: str, sticky: str) -> Plan:
        """Return what `provider/model`, `route/NAME` or a bare model name means.

        Args:
            name: the request's `model`.
            sticky: user or session; the same one always gets the same arm of a route. Empty: by chance of the call.

        Raises:
            CallerError: the name is empty, and there is no default model.
            ModelNotFound: nobody serves it, and there is no default model.
            AmbiguousModel: a bare name that several providers serve.
        """
        if name.startswith("route/"):
            return self._route_plan(name[6:], sticky)
        plan = self._plans.get(name)
        if plan is None:
            plan = self._plan_for_model(name)
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.clear()
            self._plans[name] = plan
        return plan

    def served(self) -> list[tuple[str, str]]:
        """Return (name, owner) of every route and known model, for `/v1/models`."""
        rows = [(f"route/{name}", "trimtab") for name in sorted(self._routes)]
        for spec in self.snapshot.providers:
            rows.extend((f"{spec.name}/{model}", spec.name) for model in spec.models)
        known = {name for name, _ in rows}
        rows.extend((model, model.split("/", 1)[0]) for model in self.snapshot.targets if model not in known)
        return rows

    def open_ended(self) -> list[str]:
        """Return the names of providers that pass any model name on: their own list must be asked for."""
        return [spec.name for spec in self.snapshot.providers if not spec.models]

    # --- inside ---------------------------------------------------------------------------------------------

    def _route_plan(self, name: str, sticky: str) -> Plan:
        route = self._routes.get(name)
        arms = route.channels.get("production", ()) if route is not None else ()
        if route is None or not arms:
            known = ", ".join(f"route/{n}" for n in sorted(self._routes)) or "none is configured"
            raise ModelNotFound(
                f"there is no route {name!r} with a production channel; routes: {known}", param="model"
            )
        return self._arms[_arm_key(name, "production", _choose(arms, name, sticky))]

    def _arm_plan(self, route: RouteSpec, channel: str, weighted: WeightedRelease) -> Plan:
        release = self.snapshot.releases.get(weighted.release)
        if release is None:
            raise ConfigError(
                f"route {route.name!r} points at release {weighted.release!r}, which does not exist"
            )
        plan = self._plan(release, weighted.release)
        return msgspec.structs.replace(plan, route=route.name, channel=channel, arm=weighted.arm)

    def _plan_for_model(self, name: str) -> Plan:
        model, substituted = self._full_name(name), False
        if model is None:
            model, substituted = self.snapshot.default_model, True
        release = Release(model=model)
        return msgspec.structs.replace(self._plan(release, release.id()), substituted=substituted)

    def _plan(self, release: Release, release_id: str) -> Plan:
        models = tuple(ModelPlan(m, self._targets_of(m)) for m in (release.model, *release.fallbacks))
        defaults = {key: msgspec.Raw(_encode(value)) for key, value in release.parameters.items()}
        return Plan(
            release=release_id,
            models=models,
            defaults=defaults,
            header=(b"x-trimtab-release", release_id.encode()),
        )

    def _targets_of(self, model: str) -> list[Target]:
        specs = self.snapshot.targets.get(model)
        if not specs:
            provider, _, name = model.partition("/")
            specs = (TargetSpec(provider=provider, model=name),)
        found = []
        for spec in specs:
            if spec.provider not in self.providers:
                known = ", ".join(sorted(self.providers)) or "none"
                raise ConfigError(
                    f"model {model!r}: there is no provider {spec.provider!r}; configured: {known}"
                )
            label = f"{spec.provider}/{spec.model}"
            if label not in self._targets:
                own = self.specs[spec.provider].deadlines
                target = Target(self.providers[spec.provider], spec, own or self.policy.deadlines)
                self._targets[label] = target
            else:
                self._targets[label].deadlines = self.specs[spec.provider].deadlines or self.policy.deadlines
            found.append(self._targets[label])
        return found

    def _full_name(self, name: str) -> str | None:
        """Return `provider/model` for what a caller wrote, or None where the default model must stand in."""
        if not name:
            if self.snapshot.default_model:
                return self.snapshot.default_model
            raise CallerError('`model` is missing; name one, such as "openai/gpt-4o-mini"', param="model")
        provider, slash, rest = name.partition("/")
        if name in self.snapshot.targets or (slash and rest and provider in self.providers):
            return name
        listed = [spec.name for spec in self.snapshot.providers if name in spec.models]
        if not listed:
            listed = [spec.name for spec in self.snapshot.providers if not spec.models]
        if len(listed) == 1:
            return f"{listed[0]}/{name}"
        if listed:
            choices = ", ".join(f"{p}/{name}" for p in sorted(listed))
            raise AmbiguousModel(
                f"several providers may serve {name!r}; write one of: {choices}", param="model"
            )
        if self.snapshot.default_model:
            return None
        known = ", ".join(n for n, _ in self.served()[:12]) or "none"
        raise ModelNotFound(f"nobody serves the model {name!r}; there are: {known}", param="model")


def _arm_key(route: str, channel: str, weighted: WeightedRelease) -> str:
    return f"{route}\0{channel}\0{weighted.release}\0{weighted.arm}"


def _choose(arms: tuple[WeightedRelease, ...], route: str, sticky: str) -> WeightedRelease:
    """Choose an arm by weight; the same sticky text always gets the same one while weights stand."""
    if len(arms) == 1:
        return arms[0]
    digest = hashlib.blake2b(f"{route}\0{sticky}".encode(), digest_size=8).digest()
    point = int.from_bytes(digest) % max(1, sum(arm.weight for arm in arms))
    for arm in arms:
        point -= arm.weight
        if point < 0:
            return arm
    return arms[-1]
