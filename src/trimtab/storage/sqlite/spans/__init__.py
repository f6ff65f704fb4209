"""Spans in the day files: a table of them, their sums by trace, and which calls were made in which trace.

Owns the tables `span`, `trace`, `trace_call` and `erased_trace` of a day file.
Promises: the sums equal the spans that are there; a trace that was erased takes no late spans.
Never reads or writes a call's row: `calls` and `dayfile` do.
Entry: `traces.SqliteTraceStore`, the call store with spans; `SpanTable` for one file.
"""

from .table import SpanTable, forget_calls

__all__ = ["SpanTable", "forget_calls"]
