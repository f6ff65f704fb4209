"""Calls and spans as JSON data: what the admin API answers, and what commands print of a folder that they read.

Fields have the names of `types.Opened`, `Closed`, `Usage`, `Attempt`, `FeedbackGiven` and `SpanEnded`.
"""

from typing import Any

import msgspec

from trimtab.types import Call, SpanEnded

_SHA256_BYTES = 32


def call_json(call: Call, *, payload: bool) -> dict[str, Any]:
    """Return a call: `opened` and `closed` by field names, times in microseconds; its words only with `payload`."""
    opened = msgspec.structs.asdict(call.opened)
    closed = None if call.closed is None else msgspec.structs.asdict(call.closed)
    hashed = call.opened.payload == "hash"
    for part, name in ((opened, "request"), (opened, "variables"), (closed, "response")):
        if part is not None:
            part[name] = _words(part[name], hashed=hashed) if payload else None
    if closed is not None and call.closed is not None:
        closed["usage"] = msgspec.structs.asdict(call.closed.usage)
        closed["attempts"] = [msgspec.structs.asdict(attempt) for attempt in call.closed.attempts]
    return {
        "id": call.id,
        "state": call.state,
        "latency_ms": call.latency_ms,
        "opened": opened,
        "closed": closed,
        "feedback": [msgspec.structs.asdict(given) for given in call.feedback],
    }


def span_json(span: SpanEnded) -> dict[str, Any]:
    """Return a span, without the trace that it is of."""
    fields = msgspec.structs.asdict(span) | {"attributes": attributes_of(span)}
    del fields["trace_id"]
    return fields


def attributes_of(span: SpanEnded) -> Any:  # noqa: ANN401 - JSON
    """Return what was kept of a span's attributes as JSON data; None: nothing."""
    kept = span.attributes
    return _words(kept, hashed=len(kept) == _SHA256_BYTES and kept[:1] != b"{")


def _words(kept: bytes, *, hashed: bool) -> Any:  # noqa: ANN401 - JSON
    """Return kept words as JSON where they are JSON, as text or hash where not."""
    if not kept:
        return None
    if hashed:
        return {"sha256": kept.hex()}
    try:
        return msgspec.json.decode(kept)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"text": kept.decode("utf-8", "replace")}
