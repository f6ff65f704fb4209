"""A snapshot, compiled: what one generation of routes, releases, providers and keys means for a worker."""

import hashlib
import time
from collections.abc import Callable

import msgspec

from trimtab.access import KeyRing
from trimtab.catalog import Catalog
from trimtab.providers import reads_sources
from trimtab.types import (
    Hedge,
    Policy,
    Provider,
    ProviderSpec,
    Release,
    RouteSpec,
    Snapshot,
    TargetSpec,
    WeightedRelease,
)
from trimtab.types.errors import ConfigError, ModelNotFound

from .gate import Gate
from .health import Board, Budget, Health, ModelPlan, Target
from .names import full_name, served_names

_PLANS_KEPT = 4096
"""Resolved names remembered per generation; callers may invent names, so it is bounded."""
_encode = msgspec.json.Encoder().encode


class HedgePlan:
    """When a route's calls are asked a second time, and what that may cost."""

    __slots__ = ("budget", "rules")

    def __init__(self, rules: Hedge, budget: Budget) -> None:
        self.rules = rules
        self.budget = budget


class DegradedPlan:
    """What answers where nothing else of a route does, and when it takes over."""

    __slots__ = ("model", "take_over_s")

    def __init__(self, model: ModelPlan, take_over_s: float) -> None:
        self.model = model
        self.take_over_s = take_over_s


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
    cache_ttl_s: float = 0.0
    """How long replies may be given again, where the caller's key says nothing else; 0: they may not."""
    hedge: HedgePlan | None = None
    degraded: DegradedPlan | None = None
    guarded: bool = False
    """Whether there is either of the two."""
    several: bool = False
    """Whether somebody else could answer than the first target."""


class State:
    """One generation. Immutable but for what targets have seen and the memory of resolved names."""

    def __init__(
        self,
        snapshot: Snapshot,
        make: Callable[[ProviderSpec], Provider],
        previous: "State | None" = None,
        board: Board | None = None,
    ) -> None:
        """Compile a snapshot; providers whose specification did not change are taken over.

        Args:
            snapshot: what to compile.
            make: makes a provider.
            previous: the generation before, with what its targets have seen.
            board: breaker states; None: those of the generation before, or this process's own.

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
        self.gate = Gate.of(snapshot, self.catalog)
        """Limits and budgets; None where there are none."""
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
        inherited = previous._board if previous is not None else None
        self._board: Board = board or inherited or Board()
        self._targets: dict[str, Target] = {}
        self._healths: dict[str, Health] = {}
        """Of the generation before, of targets whose address is the same."""
        self._budgets: dict[str, Budget] = {}
        """Of retries, by model; and of hedges, by route."""
        if previous is not None:
            self._inherit(previous)
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
            ModelNotFound: there is no such route, or see `full_name`.
            CallerError: see `full_name`.
            AmbiguousModel: see `full_name`.
        """
        if name.startswith("route/"):
            return self._route_plan(name[6:], sticky)
        plan = self._plans.get(name)
        if plan is None:
            plan = self._plan_for_model(name)
            if len(self._plans) >= _PLANS_KEPT:
                self._forget()
            self._plans[name] = plan
        return plan

    def served(self) -> list[tuple[str, str]]:
        """Return (name, owner) of every route and known model, for `/v1/models`."""
        return served_names(self.snapshot)

    def open_ended(self) -> list[str]:
        """Return the names of providers that pass any model name on: their own list must be asked for."""
        return [spec.name for spec in self.snapshot.providers if not spec.models]

    @property
    def tries_open(self) -> bool:
        """Whether a call whose breakers are all open is tried once all the same."""
        return self.policy.resilience.when_all_open == "try"

    def targets(self) -> list[Target]:
        """Return the targets that calls have met in this generation."""
        return list(self._targets.values())

    def renewed(self, target: Target) -> Target | None:
        """Return an older generation's target under this one, where its provider is another here: a newer key, say."""
        provider = self.providers.get(target.provider.name)
        if provider is None or provider is target.provider:
            return None
        return self._target(TargetSpec(provider=target.provider.name, model=target.name))

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

    def _inherit(self, previous: "State") -> None:
        kept = {id(provider) for provider in self.providers.values()}
        for label, target in previous._targets.items():
            if id(target.provider) in kept:
                self._targets[label] = target
            name = target.provider.name
            if name in self.specs and self.specs[name].base_url == previous.specs[name].base_url:
                self._healths[label] = target.health
        rules = self.policy.resilience
        if rules == previous.policy.resilience and self.snapshot.routes == previous.snapshot.routes:
            self._budgets = previous._budgets

    def _forget(self) -> None:
        """Forget what callers' names meant: they may be made up, and must not fill the memory."""
        self._plans.clear()
        held = {t.label for plan in self._arms.values() for m in plan.models for t in m.targets}
        held |= {f"{t.provider}/{t.model}" for targets in self.snapshot.targets.values() for t in targets}
        held |= {f"{spec.name}/{model}" for spec in self.snapshot.providers for model in spec.models}
        self._targets = {label: target for label, target in self._targets.items() if label in held}
        self._healths.clear()
        self._budgets = {name: budget for name, budget in self._budgets.items() if name in held}

    def _arm_plan(self, route: RouteSpec, channel: str, weighted: WeightedRelease) -> Plan:
        release = self.snapshot.releases.get(weighted.release)
        if release is None:
            raise ConfigError(
                f"route {route.name!r} points at release {weighted.release!r}, which does not exist"
            )
        plan = self._plan(release, weighted.release)
        hedge, degraded = route.hedge, route.degraded
        several = plan.several or degraded is not None
        return msgspec.structs.replace(
            plan,
            route=route.name,
            channel=channel,
            arm=weighted.arm,
            hedge=HedgePlan(hedge, self._budget(f"route/{route.name}", hedge.budget, 0.0)) if hedge else None,
            degraded=DegradedPlan(self._model(degraded.model), degraded.take_over_s) if degraded else None,
            guarded=hedge is not None or degraded is not None,
            several=several,
            cache_ttl_s=route.cache_ttl_s,
        )

    def _plan_for_model(self, name: str) -> Plan:
        model, substituted = full_name(self.snapshot, name), False
        if model is None:
            model, substituted = self.snapshot.default_model, True
        release = Release(model=model)
        return msgspec.structs.replace(self._plan(release, release.id()), substituted=substituted)

    def _plan(self, release: Release, release_id: str) -> Plan:
        models = tuple(self._model(name) for name in (release.model, *release.fallbacks))
        defaults = {key: msgspec.Raw(_encode(value)) for key, value in release.parameters.items()}
        return Plan(
            release=release_id,
            models=models,
            defaults=defaults,
            header=(b"x-trimtab-release", release_id.encode()),
            several=len(models) > 1 or len(models[0].targets) > 1,
        )

    def _model(self, name: str) -> ModelPlan:
        rules = self.policy.resilience
        return ModelPlan(
            name, self._targets_of(name), self._budget(name, rules.retry_share, rules.retry_min_per_s)
        )

    def _budget(self, name: str, share: float, free_per_s: float) -> Budget:
        if name not in self._budgets:
            self._budgets[name] = Budget(share, free_per_s, time.monotonic())
        return self._budgets[name]

    def _targets_of(self, model: str) -> list[Target]:
        specs = self.snapshot.targets.get(model)
        if not specs:
            provider, _, name = model.partition("/")
            specs = (TargetSpec(provider=provider, model=name),)
        for spec in specs:
            if spec.provider not in self.providers:
                known = ", ".join(sorted(self.providers)) or "none"
                raise ConfigError(
                    f"model {model!r}: there is no provider {spec.provider!r}; configured: {known}"
                )
        return [self._target(spec) for spec in specs]

    def _target(self, spec: TargetSpec) -> Target:
        label = f"{spec.provider}/{spec.model}"
        deadlines = self.specs[spec.provider].deadlines or self.policy.deadlines
        rules = self.policy.resilience.breaker
        found = self._targets.get(label)
        if found is None:
            health = self._healths.get(label) or Health(label, rules, self._board)
            found = self._targets[label] = Target(self.providers[spec.provider], spec, deadlines, health)
        found.deadlines = deadlines
        found.health.obey(rules)
        return found


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
