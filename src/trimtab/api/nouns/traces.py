"""Traces: the spans that applications told of, and the calls made in them."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.replies import control_of, read_query, reply
from trimtab.api.table import Route
from trimtab.storage import Trace, TraceRow, span_json
from trimtab.types import CallerError, NotFound

from .calls import CallRow, call_row

_TRACE_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_PLACE = re.compile(r"[0-9]{1,18}-[0-9a-f]{32}-.*", re.ASCII | re.DOTALL)


class TracesFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which traces."""

    project: str = ""
    before: Annotated[str, Meta(description="The last page's `before`.")] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class TraceList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of traces that have spans, newest first."""

    traces: list[TraceRow]
    before: str | None
    """What the next page takes as `before`; null: there is none."""


class TraceFields(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a trace."""

    spans: Annotated[int, Meta(ge=0, le=10_000, description="At most so many, those that started first.")] = (
        1000
    )
    calls: Annotated[int, Meta(ge=0, le=10_000, description="At most so many, the oldest.")] = 500


class SpanRow(msgspec.Struct, frozen=True, kw_only=True):
    """A span. Times are microseconds since 1970."""

    span_id: str
    parent_id: str
    """The span around it; empty for an outermost one."""
    name: str
    project: str
    key: str
    started_us: int
    ended_us: int
    error: str
    """Class of the exception that ended it; empty where none did."""
    attributes: Any
    """An object; `{"sha256": ...}` under the payload policy `hash`; null where nothing is kept."""


class TraceReply(msgspec.Struct, frozen=True, kw_only=True):
    """A trace: spans in the order of their starts, calls without their words in the order of time."""

    trace_id: str
    spans: list[SpanRow]
    calls: list[CallRow]
    more_spans: int
    """Left out."""
    more_calls: int
    """Left out."""


async def list_traces(request: Request) -> Response:
    """Return traces that have spans, newest first."""
    fields = read_query(request, TracesFields)
    if fields.before and not _PLACE.fullmatch(fields.before):
        raise CallerError(f"before {fields.before[:80]!r} is no last page's", param="before")
    rows = await control_of(request).records.traces(
        project=fields.project, before=fields.before, limit=fields.limit
    )
    older = rows[-1].place if len(rows) == fields.limit else None
    return reply(TraceList(traces=rows, before=older))


async def get_trace(request: Request) -> Response:
    """Return one trace: 404 where nothing of it is stored."""
    fields = read_query(request, TraceFields)
    trace_id = request.path_params["id"]
    trace = None
    if is_trace_id(trace_id):
        trace = await control_of(request).records.trace(
            trace_id, most_spans=fields.spans, most_calls=fields.calls
        )
    if trace is None:
        raise NotFound(
            f"there is no trace {trace_id[:80]!r}; it may not be stored yet, or was erased", param="id"
        )
    return reply(trace_reply(trace))


def is_trace_id(text: str) -> bool:
    """Tell whether a text has a trace id's form."""
    return _TRACE_ID.fullmatch(text) is not None


def trace_reply(trace: Trace) -> TraceReply:
    """Return a trace as JSON has it."""
    return TraceReply(
        trace_id=trace.trace_id,
        spans=[SpanRow(**span_json(span)) for span in trace.spans],
        calls=[call_row(call, payload=False) for call in trace.calls],
        more_spans=trace.more_spans,
        more_calls=trace.more_calls,
    )


ROUTES = (
    Route(
        method="GET", path="/api/v1/traces", endpoint=list_traces, action="trace.list", role="viewer",
        summary="traces that have spans, newest first, with their sums", query=TracesFields, reply=TraceList,
    ),
    Route(
        method="GET", path="/api/v1/traces/{id}", endpoint=get_trace, action="trace.read", role="viewer",
        summary="one trace: its spans, and the calls made in it", query=TraceFields, reply=TraceReply,
    ),
)  # fmt: skip
"""Every route of this noun."""
