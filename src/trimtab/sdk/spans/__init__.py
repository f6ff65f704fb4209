"""Spans themselves: their ids, what they note, and which one is current. Below the client, which sends the last."""

from .shorten import encoded
from .span import (
    FinishedSpan,
    Span,
    current_span,
    current_trace_parent,
    enter,
    in_this_span,
    leave,
)

__all__ = [
    "FinishedSpan",
    "Span",
    "current_span",
    "current_trace_parent",
    "encoded",
    "enter",
    "in_this_span",
    "leave",
]
