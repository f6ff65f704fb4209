"""The sink: one POST a signal and batch (opentelemetry.io/docs/specs/otlp, "OTLP/HTTP")."""

import asyncio
import gzip
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from trimtab.config import Sources, expand
from trimtab.providers.transport import Client, ClientOptions
from trimtab.telemetry.sink import Batch, Sent, SinkContext, SinkRefused, SinkUnavailable
from trimtab.types import ConfigError, TrimtabError

from .logs import call_records
from .metrics import Tally
from .traces import application_span, call_spans, is_sampled, place_of
from .trees import resource_tree, whole
from .wire import Tree, partial_success, to_json, to_protobuf

Signal = Literal["traces", "metrics", "logs"]

_SHAPES: Final[dict[Signal, tuple[str, str, str]]] = {
    "traces": ("Traces", "Spans", "spans"),
    "metrics": ("Metrics", "Metrics", "metrics"),
    "logs": ("Logs", "Logs", "logRecords"),
}
"""Signal → message, stem of its lists, list of its items."""

_CONTENT_TYPES: Final = {"protobuf": "application/x-protobuf", "json": "application/json"}

_ASK_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
"""What OTLP calls retryable, and the timeout of a proxy on the way."""

_NEVER: Final = frozenset({400, 413, 415, 422})
"""The message is at fault. Other 4xx are the configuration's: keys and addresses get mended, so the batch waits."""

_TRIES: Final = 10
"""Of a batch that is answered with another 5xx: passing trouble mostly, but it may be the batch itself."""

_REPLY_BYTES: Final = 64 * 1024


class OtlpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """As `[telemetry.otlp]` has them; see `config.OtlpSection`."""

    endpoint: str
    headers: dict[str, str] = {}
    encoding: Literal["protobuf", "json"] = "protobuf"
    compression: Literal["gzip", "none"] = "gzip"
    signals: tuple[Signal, ...] = ("traces", "metrics", "logs")
    content: Literal["none", "spans", "events"] = "none"
    sample: float = 1.0
    resource: dict[str, str] = {}
    metrics_every_s: float = 15.0
    timeout_s: float = 10.0
    ca_file: str = ""
    proxy: str = ""


class OtlpSink:
    """See `telemetry.Sink`."""

    def __init__(self, options: OtlpOptions, context: SinkContext) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            ConfigError: endpoint, headers, proxy or CA file cannot be used, a variable is not set, or a file or
                command gives nothing.
        """
        self._options = options
        self._context = context
        self.every_s = options.metrics_every_s if "metrics" in options.signals else 0.0
        env, sources = context.env, Sources()
        self._client = Client(
            ClientOptions(
                base_url=options.endpoint,
                what=f"telemetry.{context.name}",
                connect_s=options.timeout_s,
                max_connections=4,
                proxy=expand(options.proxy, env, sources),
                ca_file=options.ca_file,
                headers=tuple((name, expand(value, env, sources)) for name, value in options.headers.items()),
                max_reply_bytes=_REPLY_BYTES,
                content_type=_CONTENT_TYPES[options.encoding],
            )
        )
        facts = {
            "service.name": "trimtab",
            "service.version": context.version,
            "service.instance.id": context.instance,
        }
        self._resource = resource_tree(facts | options.resource)
        self._tally = Tally(context.clock.now_us())
        self._batch: Batch | None = None
        self._done: set[Signal] = set()

    async def send(self, batch: Batch) -> Sent:
        """See `Sink.send`. What of a batch was delivered is not sent again with the rest."""
        if batch is not self._batch:
            self._batch, self._done = batch, set()
        sent = Sent()
        for signal, items in (("traces", self._spans(batch)), ("logs", self._records(batch))):
            if signal in self._done or not items:
                continue
            found = await self._deliver(signal, items)  # type: ignore[arg-type]  # the two names above
            sent = Sent(rejected=sent.rejected + found.rejected, note=sent.note or found.note)
            self._done.add(signal)  # type: ignore[arg-type]
        if "metrics" not in self._done:
            self._tally.add(batch.calls)
            self._done.add("metrics")
        return sent

    async def pulse(self, counters: Mapping[str, int]) -> None:
        """See `Sink.pulse`: all metrics, cumulative."""
        await self._deliver("metrics", self._tally.trees(self._context.clock.now_us(), counters))

    async def aclose(self) -> None:
        """See `Sink.aclose`."""
        await self._client.aclose()

    def _spans(self, batch: Batch) -> list[Tree]:
        options = self._options
        if "traces" not in options.signals:
            return []
        words = options.content == "spans"
        kept = (call for call in batch.calls if is_sampled(place_of(call), options.sample))
        spans = [span for call in kept for span in call_spans(call, words=words)]
        return spans + [application_span(ended, words=options.content != "none") for ended in batch.spans]

    def _records(self, batch: Batch) -> list[Tree]:
        options = self._options
        if "logs" not in options.signals:
            return []
        words = options.content == "events"
        kept = (call for call in batch.calls if is_sampled(place_of(call), options.sample))
        return [record for call in kept for record in call_records(call, words=words)]

    async def _deliver(self, signal: Signal, items: list[Tree]) -> Sent:
        """Send items of one signal; halve what is too large.

        Raises:
            SinkUnavailable: try again later.
            SinkRefused: these will never be taken.
        """
        message, stem, inner = _SHAPES[signal]
        tree = whole(stem, inner, items, self._resource, self._context.version)
        encode = to_protobuf if self._options.encoding == "protobuf" else to_json
        status, reply, retry_after_s = await self._post(f"/v1/{signal}", encode(message, tree))
        if 200 <= status < 300:
            rejected, note = partial_success(reply, as_json=self._options.encoding == "json")
            return Sent(rejected=rejected, note=note)
        if status == 413 and len(items) > 1:
            middle = len(items) // 2
            halves = [await self._deliver(signal, part) for part in (items[:middle], items[middle:])]
            return Sent(rejected=sum(half.rejected for half in halves), note=halves[0].note or halves[1].note)
        said = f"{self._options.endpoint} answered {status} to {len(items)} {inner}"
        if status in _NEVER:
            raise SinkRefused(said)
        tries = None if status in _ASK_AGAIN or status < 500 else _TRIES
        raise SinkUnavailable(said, retry_after_s=retry_after_s, tries=tries)

    async def _post(self, path: str, body: bytes) -> tuple[int, bytes, float | None]:
        extra = b""
        if self._options.compression == "gzip":
            body, extra = gzip.compress(body, compresslevel=1, mtime=0), b"\r\nContent-Encoding: gzip"
        try:
            async with (
                asyncio.timeout(self._options.timeout_s),
                self._client.request("POST", path, body, extra=extra) as exchange,
            ):
                after = exchange.header(b"retry-after").strip()
                reply = await exchange.body(_REPLY_BYTES)
                return exchange.status, reply, float(after) if after.isdigit() else None
        except TimeoutError as error:
            raise SinkUnavailable(
                f"{self._options.endpoint} did not answer within {self._options.timeout_s:g} s"
            ) from error
        except TrimtabError as error:
            raise SinkUnavailable(error.message) from error


def sink(options: Mapping[str, Any], context: SinkContext) -> OtlpSink:
    """Make the sink; see `telemetry.MakeSink`."""
    try:
        made = msgspec.convert(options, OtlpOptions, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"telemetry.{context.name}: {error}; see docs/how-to/telemetry.md") from error
    return OtlpSink(made, context)
