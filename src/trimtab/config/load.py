"""From file and environment to a `Config`: every name resolved, nothing left to look up."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trimtab.types import (
    AlertRule,
    BudgetSpec,
    ConfigError,
    Deadlines,
    LimitSpec,
    Policy,
    ProviderSpec,
    Release,
    RetryPolicy,
    RouteSpec,
    TargetSpec,
    Webhook,
    WeightedRelease,
    usd_to_nusd,
)

from .alerts import resolve_alerts, webhook_problems
from .check import nearest, problem_text, read_document
from .expand import Reference, all_references, references
from .outbound import header_problems, proxy_problems
from .resilience import resilience_of, routing_of
from .schema import Console, Data, DeadlineSection, Document, Gateway, Own, ProviderSection
from .sources import Sources
from .telemetry import Telemetry, resolve_telemetry, telemetry_problems

FILE_NAME = "trimtab.toml"

OWN = "own"
"""Name of the provider that is the own model; always there, never declared."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = frozenset({"route", "prompt"})
"""First parts of the `model` a caller sends that mean something else than a provider."""

_NO_PARAMETERS = frozenset({"stream", "stream_options", "model", "messages", "input"})
"""Fields of a request that a route's parameters would break where they replaced the caller's."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A checked configuration. Paths in it are absolute."""

    source: Path | None
    """The file it came from; None: there is none, and the environment decided."""
    data_dir: Path
    gateway: Gateway = Gateway()
    console: Console = Console()
    data: Data = Data()
    own: Own = Own()
    policy: Policy = Policy()
    providers: tuple[ProviderSpec, ...] = ()
    """As declared; without the own model, which only `serve` can name."""
    targets: dict[str, tuple[TargetSpec, ...]] = {}
    routes: tuple[RouteSpec, ...] = ()
    releases: dict[str, Release] = {}
    limits: tuple[LimitSpec, ...] = ()
    budgets: tuple[BudgetSpec, ...] = ()
    catalog_file: Path | None = None
    telemetry: Telemetry = Telemetry()
    alerts: tuple[AlertRule, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    """As declared; secrets as written."""
    watch: bool = False
    """Whether the configuration is read again when its file changes."""
    declared: frozenset[str] = frozenset()
    """Settings that the file sets, as `section.name`: nothing else may change these."""

    def unset_variables(self, env: Mapping[str, str]) -> dict[str, list[str]]:
        """Return, by provider, the variables that its key, headers and proxy need and the environment lacks."""
        needed = {
            name: dict.fromkeys(v for text in found for v in references(text))
            for name, found in self._secret_texts().items()
        }
        lacking = {name: [v for v in names if not env.get(v)] for name, names in needed.items()}
        return {name: names for name, names in lacking.items() if names}

    def secret_sources(self) -> dict[str, list[Reference]]:
        """Return, by provider, the files and commands that its key, headers and proxy come from."""
        found = {
            name: [r for text in texts for r in all_references(text) if r.kind != "env"]
            for name, texts in self._secret_texts().items()
        }
        return {name: sources for name, sources in found.items() if sources}

    def _secret_texts(self) -> dict[str, list[str]]:
        texts = {OWN: [self.own.api_key]}
        for sink in self.telemetry.sinks:
            given = sink.options
            secrets = [*given.get("headers", {}).values(), given.get("proxy", "")]
            texts[f"telemetry.{sink.name}"] = [text for text in secrets if isinstance(text, str)]
        for spec in self.providers:
            texts[spec.name] = [spec.api_key, *spec.headers.values(), spec.proxy]
        return texts | {f"webhooks.{hook.name}": [hook.secret] for hook in self.webhooks}


def find_file(explicit: Path | None = None, start: Path | None = None) -> Path | None:
    """Return the file to read: the one named, else the nearest `trimtab.toml` at or above `start` (the cwd).

    Raises:
        ConfigError: a file was named, and is not there.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise ConfigError(
                f"{explicit}: no such file; name an existing one with --config, or leave it out"
            )
        return explicit.absolute()
    folder = (start or Path.cwd()).absolute()
    for parent in (folder, *folder.parents):
        if (parent / FILE_NAME).is_file():
            return parent / FILE_NAME
    return None


def load_config(path: Path | None = None, *, env: Mapping[str, str], data_dir: Path | None = None) -> Config:
    """Read and check a configuration file; None stands for an empty one.

    Args:
        path: the file, as `find_file` returns it.
        env: the environment that `${NAME}` and the zero-configuration provider read.
        data_dir: overrides `[data] dir`.

    Raises:
        ConfigError: it cannot be read or used; the message names every problem found.
    """
    raw = {} if path is None else _parse(path)
    source = str(path or "(no file)")
    document = read_document(raw, env, source, Sources())
    folder = Path.cwd() if path is None else path.absolute().parent
    resolver = _Resolver(document, folder, env)
    declared = frozenset(
        f"{section}.{name}" for section, table in raw.items() if isinstance(table, Mapping) for name in table
    )
    config = resolver.config(path, data_dir, declared)
    if resolver.problems:
        raise ConfigError(problem_text(source, resolver.problems))
    return config


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; mend that line (https://toml.io)") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; check the path and its rights"
        ) from error


class _Resolver:
    def __init__(self, document: Document, folder: Path, env: Mapping[str, str]) -> None:
        self.document = document
        self.folder = folder
        self.env = env
        self.problems: list[str] = []

    def config(self, source: Path | None, data_dir: Path | None, declared: frozenset[str]) -> Config:
        document = self.document
        providers = self.providers()
        known = [p.name for p in providers] + ([OWN] if document.own.enabled else [])
        targets = self.targets(known)
        releases = {name: self.release(name, known, targets) for name in document.routes}
        own = document.own
        if own.url and own.model_path:
            self.problems.append("own.url and own.model_path exclude each other; keep one of them")
        if own.url and not own.model:
            self.problems.append("own.model: missing; name the model that the server at own.url is to run")
        if own.url and not _is_url(own.url):
            self.problems.append("own.url: no URL; it starts with https:// or http://")
        if own.model_path:
            own = msgspec.structs.replace(own, model_path=str(self.path(own.model_path)))
        self.problems += telemetry_problems(document.telemetry, self.env)
        self.problems += webhook_problems(document.webhooks)
        for table in ("alerts", "webhooks"):
            for name in getattr(document, table):
                self.name_is_good(table, name)
        rules, webhooks = resolve_alerts(document.alerts, document.webhooks)
        if document.retry.backoff_max_s < document.retry.backoff_s:
            self.problems.append("retry.backoff_max_s is below retry.backoff_s; raise it, or lower the other")
        return Config(
            source=source,
            data_dir=(data_dir or self.data_dir()).absolute(),
            gateway=document.gateway,
            console=document.console,
            data=document.data,
            own=own,
            policy=self.policy(),
            providers=providers,
            targets=targets,
            routes=tuple(self.route(name, release) for name, release in releases.items()),
            releases={release.id(): release for release in releases.values()},
            limits=self.limits(),
            budgets=self.budgets(),
            catalog_file=self.path(document.catalog.file) if document.catalog.file else None,
            telemetry=resolve_telemetry(document.telemetry, self.path),
            alerts=rules,
            webhooks=webhooks,
            watch=document.reload.watch,
            declared=declared,
        )

    def policy(self) -> Policy:
        document = self.document
        return Policy(
            open_access=document.access.open,
            payload=document.data.payload,
            on_ledger_failure=document.data.on_ledger_failure,
            durability=document.data.durability,
            retention_days=document.data.retention_days,
            disk_gb=document.data.disk_gb,
            deadlines=_deadlines(document.deadlines),
            retry=RetryPolicy(**msgspec.structs.asdict(document.retry)),
            resilience=resilience_of(document.resilience),
            max_request_bytes=document.gateway.max_request_bytes,
            max_reply_bytes=document.gateway.max_reply_bytes,
            private_addresses=document.outbound.private_addresses,
            cache_mb=document.cache.max_mb,
            assumed_output_tokens=document.gateway.assumed_output_tokens,
        )

    def limits(self) -> tuple[LimitSpec, ...]:
        found = []
        for name, section in self.document.limits.items():
            self.name_is_good("limits", name)
            spec = LimitSpec(name=name, **msgspec.structs.asdict(section))
            if not (spec.requests_per_minute or spec.tokens_per_minute or spec.concurrency):
                self.problems.append(
                    f"limits.{name}: limits nothing; set requests_per_minute, tokens_per_minute or concurrency"
                )
            found.append(spec)
        return tuple(found)

    def budgets(self) -> tuple[BudgetSpec, ...]:
        found = []
        for name, section in self.document.budgets.items():
            self.name_is_good("budgets", name)
            fields = msgspec.structs.asdict(section)
            found.append(BudgetSpec(name=name, amount_nusd=usd_to_nusd(fields.pop("amount_usd")), **fields))
        return tuple(found)

    def data_dir(self) -> Path:
        if self.document.data.dir:
            return self.path(self.document.data.dir)
        xdg = self.env.get("XDG_DATA_HOME", "")
        # The XDG specification: a relative path there is invalid and to be ignored.
        base = Path(xdg) if xdg.startswith("/") else self.home() / ".local" / "share"
        return base / "trimtab"

    def home(self) -> Path:
        home = self.env.get("HOME", "")
        return Path(home) if home.startswith("/") else Path.home()

    def path(self, text: str) -> Path:
        if text == "~" or text.startswith("~/"):
            return self.home() / text[2:]
        return (self.folder / text).absolute()

    def providers(self) -> tuple[ProviderSpec, ...]:
        declared = self.document.providers
        if not declared:
            return self.from_environment()
        found = []
        for name, section in declared.items():
            if self.name_is_good("providers", name) and name in (OWN, *_RESERVED):
                mend = "its settings stand in [own]" if name == OWN else "choose another name"
                self.problems.append(f"providers.{name}: the name {name!r} is reserved; {mend}")
            found.append(self.provider(name, section))
        return tuple(found)

    def from_environment(self) -> tuple[ProviderSpec, ...]:
        """OpenAI's own client reads these two variables; so do we, when nothing is declared.

        A base URL alone is a server that wants no key, such as one on this machine.
        """
        key, base_url = self.env.get("OPENAI_API_KEY"), self.env.get("OPENAI_BASE_URL", "")
        if not key and not base_url:
            return ()
        if base_url and not _is_url(base_url):
            self.problems.append("OPENAI_BASE_URL: no URL; it starts with https:// or http://")
        return (ProviderSpec(name="openai", base_url=base_url, api_key="${OPENAI_API_KEY}" if key else ""),)

    def provider(self, name: str, section: ProviderSection) -> ProviderSpec:
        if section.base_url and not _is_url(section.base_url):
            self.problems.append(f"providers.{name}.base_url: no URL; it starts with https:// or http://")
        found = (*proxy_problems(section.proxy, self.env), *header_problems(section.headers, self.env))
        self.problems += (f"providers.{name}.{problem}" for problem in found)
        fields = msgspec.structs.asdict(section)
        if section.ca_file:
            fields["ca_file"] = str(self.path(section.ca_file))
        if section.deadlines is not None:
            fields["deadlines"] = _deadlines(section.deadlines)
        return ProviderSpec(name=name, **fields)

    def targets(self, known: Iterable[str]) -> dict[str, tuple[TargetSpec, ...]]:
        found = {}
        for name, section in self.document.models.items():
            if "/" not in name.strip("/"):
                self.problems.append(f'models."{name}": the name is `provider/model`, with a slash')
            for target in section.targets:
                if target.provider not in known:
                    self.problems.append(
                        f'models."{name}".targets: provider {target.provider!r} is not configured'
                        + nearest(target.provider, known)
                    )
            found[name] = tuple(TargetSpec(**msgspec.structs.asdict(t)) for t in section.targets)
        return found

    def route(self, name: str, release: Release) -> RouteSpec:
        section = self.document.routes[name]
        hedge, degraded = routing_of(section.hedge, section.degraded)
        if degraded is not None and degraded.take_over_s >= self.document.deadlines.total_s:
            self.problems.append(
                f"routes.{name}.degraded.take_over_s = {degraded.take_over_s:g}: no time is left for it to answer; "
                f"stay below deadlines.total_s ({self.document.deadlines.total_s:g})"
            )
        return RouteSpec(
            name=name,
            channels={"production": (WeightedRelease(release=release.id()),)},
            hedge=hedge,
            degraded=degraded,
            cache_ttl_s=section.cache_ttl_s,
        )

    def release(self, name: str, known: Iterable[str], targets: Iterable[str]) -> Release:
        section = self.document.routes[name]
        self.name_is_good("routes", name)
        named = [("model", section.model), *(("fallbacks", m) for m in section.fallbacks)]
        if section.degraded is not None:
            named.append(("degraded.model", section.degraded.model))
        for key, model in named:
            provider, slash, rest = model.partition("/")
            if not (slash and provider and rest):
                self.problems.append(
                    f"routes.{name}.{key} = {model!r}: expected `provider/model`, with a slash"
                )
            elif provider not in known and model not in targets:
                self.problems.append(
                    f"routes.{name}.{key} = {model!r}: provider {provider!r} is not configured"
                    + nearest(provider, known)
                )
        for key in sorted(_NO_PARAMETERS.intersection(section.parameters)):
            self.problems.append(
                f"routes.{name}.parameters.{key}: this is the caller's or the route's own to say, "
                "no parameter of the model; remove it"
            )
        release = Release(model=section.model, fallbacks=section.fallbacks, parameters=section.parameters)
        try:
            release.id()
        except ValueError as error:
            # NaN, infinities and integers past 2^53 have no canonical JSON: no release could be named.
            self.problems.append(f"routes.{name}.parameters: {error}; write a value that JSON can carry")
            return Release(model=section.model)
        return release

    def name_is_good(self, table: str, name: str) -> bool:
        if _NAME.fullmatch(name):
            return True
        self.problems.append(
            f'{table}."{name}": a name has letters, digits, ".", "_" and "-" (64 at most), '
            "and begins with a letter or digit"
        )
        return False


def _is_url(text: str) -> bool:
    return re.match(r"https?://[^/]", text) is not None


def _deadlines(section: DeadlineSection) -> Deadlines:
    return Deadlines(**msgspec.structs.asdict(section))
