"""Spans to fill a store with."""

from typing import Any

import msgspec

from trimtab.types import SpanEnded

from .calls import NOON_MS


def sample_span(trace: int = 1, span: int = 1, **changes: Any) -> SpanEnded:  # noqa: ANN401 - fields of a struct
    """Return a span of a second, on the day of `sample_call`, with something in every field.

    Args:
        trace: number that its trace id follows from.
        span: number that its own id follows from.
        changes: fields to set otherwise.
    """
    made = SpanEnded(
        trace_id=f"{trace:032x}",
        span_id=f"{span:016x}",
        parent_id="",
        name="answer",
        project="default",
        started_us=NOON_MS * 1000,
        ended_us=NOON_MS * 1000 + 1_000_000,
        error="",
        attributes=b'{"args":{"question":"When?"}}',
        key="key_1",
    )
    return msgspec.structs.replace(made, **changes)


def in_trace(trace: int = 1, span: int = 1) -> str:
    """Return the trace parent of a call that is made in a sample span."""
    return f"00-{trace:032x}-{span:016x}-01"
