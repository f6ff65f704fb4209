"""Traces: what an application did around its calls, as bars on one scale of time."""

from starlette.responses import Response

from trimtab.api import is_trace_id, trace_reply
from trimtab.console.content.trace import picture
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.storage import Trace
from trimtab.types import CallerError, NotFound, StorageError

_PAGE = 50
_MOST_SPANS = 500
_MOST_CALLS = 200
"""On one page; the JSON has more."""

_DOWNLOADED = 10_000


async def show_all(visit: Visit) -> Response:
    """Return the list of traces, the newest first."""
    before = visit.query.get("before", "")
    try:
        rows = await visit.control.records.traces(project=visit.project, before=before, limit=_PAGE)
    except StorageError as error:
        if not before:
            raise
        raise CallerError(f"before {before[:80]!r} is no last page's", param="before") from error
    return await visit.page(
        "traces.html",
        title=visit.t("nav.traces"),
        rows=rows,
        older=visit.link("/traces", before=rows[-1].place) if len(rows) == _PAGE else "",
        newest=visit.link("/traces") if before else "",
    )


async def show_one(visit: Visit) -> Response:
    """Return one trace: its spans and calls, nested, on one scale of time."""
    trace = await _trace(visit, _MOST_SPANS, _MOST_CALLS)
    closed = [call.closed for call in trace.calls if call.closed is not None]
    return await visit.page(
        "trace.html",
        title=visit.t("traces.one"),
        trace=trace,
        picture=picture(trace),
        spans=len(trace.spans) + trace.more_spans,
        calls=len(trace.calls) + trace.more_calls,
        errors=sum(bool(span.error) for span in trace.spans) + sum(end.state == "error" for end in closed),
        cost_nusd=sum(end.cost_nusd for end in closed),
        tokens=sum(end.usage.input_tokens + end.usage.output_tokens for end in closed),
        json_link=f"/traces/{trace.trace_id}.json",
    )


async def download(visit: Visit) -> Response:
    """Return the trace as JSON, as the admin API has it."""
    trace = await _trace(visit, _DOWNLOADED, _DOWNLOADED)
    response = visit.json(trace_reply(trace))
    response.headers["content-disposition"] = f'attachment; filename="{trace.trace_id}.json"'
    return response


async def _trace(visit: Visit, most_spans: int, most_calls: int) -> Trace:
    trace_id = visit.path_params["id"]
    trace = None
    if is_trace_id(trace_id):
        trace = await visit.control.records.trace(trace_id, most_spans=most_spans, most_calls=most_calls)
    if trace is None:
        raise NotFound(
            f"there is no trace {trace_id[:60]!r}; it was never recorded here, was erased, or is too old",
            param="id",
        )
    return trace


ROUTES = (
    Route("GET", "/traces", show_all),
    Route("GET", "/traces/{id}.json", download),
    Route("GET", "/traces/{id}", show_one),
)
