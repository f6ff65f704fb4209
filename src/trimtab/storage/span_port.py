"""The port of spans, which are kept beside the calls of their traces. Its kit is `testing.check_span_store`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from trimtab.types import Call, SpanEnded

from .ports import CallStore, Erasure

MOST_SPANS = 1000
"""Spans of one trace that `trace` returns unless told otherwise."""

MOST_CALLS = 500
"""Calls of one trace that `trace` returns unless told otherwise."""


class TraceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One trace, as far as the spans of one project tell."""

    trace_id: str
    """32 hex digits."""
    project: str
    name: str
    """Of the span that started first; of several, of the one that ended last."""
    started_us: int
    ended_us: int
    spans: int
    errors: int
    """Spans that an exception ended."""
    calls: int
    """Calls made in the trace, whichever project's."""

    @property
    def place(self) -> str:
        """Where it stands in the list: what the next page takes as `before`."""
        return f"{self.started_us}-{self.trace_id}-{self.project}"


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one trace."""

    trace_id: str
    spans: tuple[SpanEnded, ...]
    """Those that started first, in the order of their starts."""
    calls: tuple[Call, ...]
    """The oldest calls made in it, in the order of their ids, without their words."""
    more_spans: int = 0
    """Left out."""
    more_calls: int = 0
    """Left out."""


@runtime_checkable
class SpanStore(Protocol):
    """A call store that keeps spans too: beside the calls of their trace, and gone with them.

    A trace that goes on over midnight, UTC, is whole where each of its days has a span.
    """

    def insert_spans(self, spans: Sequence[SpanEnded]) -> int:
        """Store spans, in one transaction a file; idempotent by (`trace_id`, `span_id`). Return how many were new.

        A span goes to the day it started on. Where that day was dropped already, or calls of its trace were
        erased by user or session on that day or beside it, it is left out.

        Raises:
            ValueError: an id is not hexadecimal; then nothing is stored.
            StorageError: a file cannot be written.
        """
        ...

    def trace(
        self, trace_id: str, *, most_spans: int = MOST_SPANS, most_calls: int = MOST_CALLS
    ) -> Trace | None:
        """Return a trace's spans and calls, or None where nothing of it is stored. A lookup a file."""
        ...

    def traces(self, *, project: str = "", before: str = "", limit: int = 50) -> list[TraceRow]:
        """Return traces that have spans, newest first by their start; of each page none is on another.

        Args:
            project: whose spans to count; empty: each project's, in a row of its own.
            before: the `place` of the last page's last row.
            limit: rows to return at most.

        Raises:
            StorageError: `before` is no place, or a file cannot be read.
        """
        ...

    def spans(self, *, project: str = "", since_us: int = 0, until_us: int = 0) -> Iterator[SpanEnded]:
        """Yield the spans that started within the bounds (0: none), day by day. Others may write meanwhile."""
        ...

    def traces_of(self, what: Erasure) -> set[str]:
        """Return the traces that the stored calls of an erasure were made in.

        Raises:
            ValueError: neither user nor session is given.
        """
        ...

    def erase_traces(self, traces: Mapping[str, int]) -> int:
        """Erase the spans of traces, and take no late ones of them; return how many there were.

        For calls that are not stored yet: those that are take their traces with them.

        Args:
            traces: trace id → when a call of it was opened, in microseconds since 1970.

        Raises:
            ValueError: an id is not hexadecimal.
        """
        ...


class TraceStore(CallStore, SpanStore, Protocol):
    """Calls and spans in one store. Erasing or expiring calls erases the spans of their traces, or projects."""
