"""What may stand under `[telemetry]`: where calls, spans and metrics are exported to."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .outbound import header_problems, proxy_problems

Signal = Literal["traces", "metrics", "logs"]


class OtlpSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A collector that takes OTLP over HTTP."""

    endpoint: Annotated[
        str,
        Meta(
            min_length=1,
            description="Its base URL, as `http://collector:4318`; `/v1/traces`, `/v1/metrics` and `/v1/logs` follow.",
        ),
    ]
    headers: Annotated[
        dict[str, str],
        Meta(description="Headers sent with every request. Write `${NAME}` for secrets in them."),
    ] = {}
    encoding: Annotated[
        Literal["protobuf", "json"], Meta(description="How messages are encoded; every collector takes both.")
    ] = "protobuf"
    compression: Annotated[Literal["gzip", "none"], Meta(description="How bodies are compressed.")] = "gzip"
    signals: Annotated[
        tuple[str, ...],
        Meta(description="Which of `traces`, `metrics` and `logs` (events of calls) are sent."),
    ] = ("traces", "metrics", "logs")
    content: Annotated[
        Literal["none", "spans", "events"],
        Meta(
            description="Whether messages and error messages go along, and where: attributes of spans, or events. Only "
            "what the payload policy keeps whole can."
        ),
    ] = "none"
    sample: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of the traces begun here whose spans are sent. A call within an application's trace "
            "follows that trace's own decision. Metrics count every call.",
        ),
    ] = 1.0
    resource: Annotated[
        dict[str, str],
        Meta(
            description="Attributes that say who sends, as `deployment.environment.name`; they win over our own "
            "(`service.name` is `trimtab`)."
        ),
    ] = {}
    metrics_every_s: Annotated[
        float, Meta(ge=1, le=3600, description="How often metrics are sent, in seconds.")
    ] = 15.0
    timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="How long one request may take, in seconds.")
    ] = 10.0
    ca_file: Annotated[
        str, Meta(description="PEM file of certificate authorities to trust as well; relative to this file.")
    ] = ""
    proxy: Annotated[
        str, Meta(description="HTTP proxy to reach it through: `http://[user:password@]host:port`.")
    ] = ""


class JsonlSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file with one JSON object a line."""

    path: Annotated[str, Meta(min_length=1, description="The file; relative to this one.")]
    content: Annotated[
        Literal["none", "recorded"],
        Meta(description="Whether requests and answers go along, as far as they were recorded."),
    ] = "none"
    max_mb: Annotated[
        int, Meta(ge=1, le=100_000, description="Size in 10^6 bytes at which a new file is begun.")
    ] = 100
    keep: Annotated[int, Meta(ge=0, le=1000, description="How many full files are kept.")] = 5


class SinkSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sink of a plugin's."""

    kind: Annotated[str, Meta(min_length=1, description="Entry of the `trimtab.sinks` table.")]
    options: Annotated[dict[str, Any], Meta(description="Whatever its kind understands.")] = {}


class TelemetrySection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where calls and spans are exported to, beside the store. Nothing here takes effect before the next start."""

    backlog: Annotated[
        int,
        Meta(
            ge=65_536,
            le=1_000_000_000,
            description="Calls and spans that may wait for a sink that is away, 25 bytes each; the oldest are dropped "
            "beyond that, and counted.",
        ),
    ] = 4_000_000
    otlp: Annotated[OtlpSection | None, Meta(description="A collector that takes OTLP over HTTP.")] = None
    jsonl: Annotated[JsonlSection | None, Meta(description="A file with one JSON object a line.")] = None
    sinks: Annotated[dict[str, SinkSection], Meta(description="Further sinks, by name.")] = {}


class SinkSpec(Struct, frozen=True, kw_only=True):
    """One sink to run, of whatever origin."""

    name: str
    kind: str
    """Entry of the `trimtab.sinks` table."""
    options: dict[str, Any] = {}
    """Secrets in it as written, `${NAME}` unexpanded."""


class Telemetry(Struct, frozen=True, kw_only=True):
    """What is exported, and where to; as a process gets it."""

    backlog: int = TelemetrySection().backlog
    sinks: tuple[SinkSpec, ...] = ()


def resolve_telemetry(section: TelemetrySection, path: Callable[[str], Path]) -> Telemetry:
    """Return the sinks that a file names, paths made absolute by `path`."""
    found = []
    if section.otlp is not None:
        options = msgspec.structs.asdict(section.otlp)
        if section.otlp.ca_file:
            options["ca_file"] = str(path(section.otlp.ca_file))
        found.append(SinkSpec(name="otlp", kind="otlp", options=options))
    if section.jsonl is not None:
        options = msgspec.structs.asdict(section.jsonl) | {"path": str(path(section.jsonl.path))}
        found.append(SinkSpec(name="jsonl", kind="jsonl", options=options))
    found += [
        SinkSpec(name=name, kind=sink.kind, options=sink.options) for name, sink in section.sinks.items()
    ]
    return Telemetry(backlog=section.backlog, sinks=tuple(found))


def telemetry_problems(section: TelemetrySection, env: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the section, beyond types."""
    otlp = section.otlp
    if otlp is not None:
        if not otlp.endpoint.startswith(("http://", "https://")):
            yield "telemetry.otlp.endpoint: no URL; it starts with https:// or http://"
        known = ("traces", "metrics", "logs")
        for signal in otlp.signals:
            if signal not in known:
                yield f"telemetry.otlp.signals: {signal!r} is no signal; there are: {', '.join(known)}"
        found = (*proxy_problems(otlp.proxy, env), *header_problems(otlp.headers, env))
        yield from (f"telemetry.otlp.{problem}" for problem in found)
    for name in section.sinks:
        if name in ("otlp", "jsonl") or not name.replace("-", "").replace("_", "").isalnum():
            yield (
                f"telemetry.sinks.{name}: a name has letters, digits, '-' and '_', and is neither 'otlp' nor 'jsonl', "
                "which have sections of their own"
            )
