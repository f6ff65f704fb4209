"""Traces as the admin API's JSON, and back."""

from __future__ import annotations

from typing import Any

import msgspec

from trimtab.storage import Trace, call_json, span_json
from trimtab.types import SpanEnded

from .store import read_call

_SHA256_BYTES = 32


def trace_json(trace: Trace) -> dict[str, Any]:
    """Return a trace as the admin API does."""
    return {
        "trace_id": trace.trace_id,
        "spans": [span_json(span) for span in trace.spans],
        "calls": [call_json(call, payload=False) for call in trace.calls],
        "more_spans": trace.more_spans,
        "more_calls": trace.more_calls,
    }


def read_trace(reply: dict[str, Any]) -> Trace:
    """Return the trace that the admin API's JSON means; fields that a newer Trimtab added are left out."""
    trace_id = reply["trace_id"]
    return Trace(
        trace_id=trace_id,
        spans=tuple(_span(trace_id, fields) for fields in reply["spans"]),
        calls=tuple(read_call(row) for row in reply["calls"]),
        more_spans=reply["more_spans"],
        more_calls=reply["more_calls"],
    )


def _span(trace_id: str, fields: dict[str, Any]) -> SpanEnded:
    kept = fields["attributes"]
    words = b"" if kept is None else msgspec.json.encode(kept)
    if isinstance(kept, dict) and set(kept) == {"sha256"} and len(str(kept["sha256"])) == 2 * _SHA256_BYTES:
        words = bytes.fromhex(str(kept["sha256"]))
    known = {name: fields[name] for name in SpanEnded.__struct_fields__ if name in fields}
    return SpanEnded(**(known | {"trace_id": trace_id, "attributes": words}))
