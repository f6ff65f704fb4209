"""A plain file as a sink: one JSON object a line, a call or a span each, for whatever reads lines."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from trimtab.types import Call, ConfigError, SpanEnded

from .otlp import CALL_FACTS, place_of
from .sink import Batch, Sent, SinkContext, SinkUnavailable


class JsonlOptions(msgspec.Struct, frozen=True, kw_only=True):
    """As `[telemetry.jsonl]` has them; see `config.JsonlSection`."""

    path: str
    content: Literal["none", "recorded"] = "none"
    max_mb: int = 100
    keep: int = 5


class JsonlSink:
    """Appends to a file; at `max_mb` it is renamed to `NAME.1` (then `.2`, ...), and a new one begun."""

    every_s = 0.0

    def __init__(self, options: JsonlOptions) -> None:
        self._options = options
        self._path = Path(options.path)

    async def send(self, batch: Batch) -> Sent:
        """See `Sink.send`. One write a batch: a line is there whole, or cut at the end of a full disk."""
        words = self._options.content == "recorded"
        lines = [msgspec.json.encode(call_line(call, words=words)) + b"\n" for call in batch.calls]
        lines += [msgspec.json.encode(span_line(ended, words=words)) + b"\n" for ended in batch.spans]
        try:
            self._append(b"".join(lines))
        except OSError as error:
            raise SinkUnavailable(f"{self._path} cannot be written: {error.strerror or error}") from error
        return Sent()

    async def pulse(self, counters: Mapping[str, int]) -> None:
        """Nothing: a file of lines has no place for metrics."""

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _append(self, data: bytes) -> None:
        """Append all of `data` or nothing; the file is opened each time, so that others may move it away."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                os.write(fd, b"\n")  # a line that a crash cut must not take the next one with it
            if os.write(fd, data) < len(data):
                os.ftruncate(fd, size)
                raise OSError(28, "the disk is full")
            size += len(data)
        finally:
            os.close(fd)
        if size >= self._options.max_mb * 1_000_000:
            self._rotate()

    def _rotate(self) -> None:
        kept = [
            self._path,
            *(self._path.with_name(f"{self._path.name}.{n + 1}") for n in range(self._options.keep)),
        ]
        for older, newer in zip(reversed(kept), reversed(kept[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)


def call_line(call: Call, *, words: bool) -> dict[str, Any]:
    """Return a call's line: the names of OTLP's attributes, and where it stands in its trace."""
    place = place_of(call)
    line: dict[str, Any] = {
        "type": "call",
        "trace_id": place.trace_id,
        "span_id": place.span_id,
        "parent_span_id": place.parent_id,
        "opened_us": call.opened.opened_us,
        "closed_us": call.closed.closed_us if call.closed else None,
    }
    line |= {fact.name: value for fact in CALL_FACTS if (value := fact.of(call)) not in (None, "", ())}
    if words and call.opened.payload in ("full", "masked"):
        line["request"] = _json(call.opened.request)
        line["response"] = _json(call.closed.response) if call.closed else None
        line["error_message"] = call.closed.error_message if call.closed else ""
    return line


def span_line(ended: SpanEnded, *, words: bool) -> dict[str, Any]:
    """Return the line of an application's span."""
    line = {"type": "span", **msgspec.structs.asdict(ended)}
    attributes = line.pop("attributes")
    if words:
        line["attributes"] = _json(attributes)
    return line


def _json(body: bytes) -> Any:  # noqa: ANN401
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def sink(options: Mapping[str, Any], context: SinkContext) -> JsonlSink:
    """Make the sink; see `telemetry.MakeSink`."""
    try:
        return JsonlSink(msgspec.convert(options, JsonlOptions, strict=False))
    except msgspec.ValidationError as error:
        raise ConfigError(f"telemetry.{context.name}: {error}; see docs/how-to/telemetry.md") from error
