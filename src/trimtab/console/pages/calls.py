"""The list of calls: filters, search, saved views, live tail, download."""

import asyncio
from urllib.parse import parse_qsl

from msgspec.structs import replace
from starlette.responses import Response, StreamingResponse

from trimtab.console.csv_out import MOST, csv_lines
from trimtab.console.lists import (
    CHOICES,
    COLUMNS,
    FILTERS,
    HOLD_S,
    LOOK_S,
    MORE_FILTERS,
    PAGE,
    POLL_S,
    SHOWN,
    Row,
    columns_of,
    digest,
    filters,
    query_of,
    rows_of,
    view_query,
)
from trimtab.console.routes import Route
from trimtab.console.sums import SPANS
from trimtab.console.visit import Visit
from trimtab.types import CallerError, id_time_us

_TYPED_TIMES = ("since_us", "until_us")


async def show(visit: Visit) -> Response:
    """Return the list; a filter that cannot be used is said above an empty one."""
    columns, problem, rows = columns_of(visit), "", []
    try:
        query = query_of(visit)
        _check_before(query.before)
        rows = await rows_of(visit, query, words="words" in columns)
    except CallerError as error:
        problem = error.message
    chosen = filters(visit)
    live = visit.query.get("live") == "1" and not visit.query.get("before") and not problem
    return await visit.page(
        "calls.html",
        200 if not problem else 400,
        title=visit.t("nav.calls"),
        problem=problem,
        chips=[(name, value, _without(visit, name)) for name, value in chosen.items()],
        values={name: chosen.get(name, "") for name in (*FILTERS, "range")},
        spans=[span.name for span in SPANS],
        more=[name for name in MORE_FILTERS if name not in _TYPED_TIMES],
        choices=CHOICES,
        all_columns=COLUMNS,
        views=await visit.control.objects.views(),
        view_query=view_query(visit),
        models=await _models(visit),
        older=_address(visit, before=rows[-1].call.id) if len(rows) == PAGE else "",
        newest=_address(visit) if visit.query.get("before") else "",
        live_link=_address(visit, live="" if live else "1"),
        csv_link=visit.link("/calls.csv", **chosen),
        **_table(visit, columns, rows, live=live),
    )


async def rows(visit: Visit) -> Response:
    """Return the newest rows for the live tail; nothing, if they stay those that the page has for `HOLD_S`."""
    columns = columns_of(visit)
    query = query_of(visit)
    found = await rows_of(visit, query, words=False)
    loop = asyncio.get_running_loop()
    ends = loop.time() + HOLD_S
    while digest(found) == visit.query.get("seen"):
        if loop.time() + LOOK_S > ends:
            return Response(status_code=204)
        await asyncio.sleep(LOOK_S)
        found = await rows_of(visit, query, words=False)
    if "words" in columns:
        found = await rows_of(visit, query, words=True)
    return visit.fragment("calls_rows.html", **_table(visit, columns, found, live=True))


async def download(visit: Visit) -> Response:
    """Return what the filters mean as CSV, up to 100,000 calls, newest first."""
    query = query_of(visit, limit=1)
    _check_before(query.before)
    pages = visit.control.records.export(replace(query, limit=MOST))
    return StreamingResponse(
        csv_lines(pages, words=True),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="trimtab-calls.csv"'},
    )


async def add_view(visit: Visit) -> Response:
    """Save the filters under a name."""
    fields = await visit.form()
    query = fields.get("query", "")
    await visit.control.objects.add_view(visit.actor, fields.get("name", "").strip(), query)
    return visit.redirect("/calls", **(dict(parse_qsl(query)) | {"done": "view_saved"}))


async def remove_view(visit: Visit) -> Response:
    """Remove a saved view."""
    await visit.control.objects.remove_view(visit.actor, visit.path_params["id"])
    return visit.redirect("/calls", done="view_removed")


def _table(visit: Visit, columns: tuple[str, ...], rows: list[Row], *, live: bool) -> dict[str, object]:
    """Return what the template of the rows names."""
    top = rows[0].call.id if rows else ""
    fields = filters(visit)
    cols = ",".join(columns) if columns != SHOWN else ""
    return {
        "columns": columns,
        "rows": rows,
        "live": live,
        "carried": fields,
        "poll": visit.link("/calls/rows", **fields, cols=cols, seen=digest(rows), top=top) if live else "",
        "top": visit.query.get("top", ""),
        "poll_ms": round(POLL_S * 1000),
    }


def _address(visit: Visit, **fields: str) -> str:
    columns = columns_of(visit)
    cols = ",".join(columns) if columns != SHOWN else ""
    live = {"live": visit.query.get("live", "")} if "before" not in fields else {}
    return visit.link("/calls", **(filters(visit) | {"cols": cols} | live | fields))


def _without(visit: Visit, name: str) -> str:
    return _address(visit, **{name: ""})


def _check_before(before: str) -> None:
    try:
        id_time_us(before) if before else None
    except ValueError as error:
        raise CallerError(str(error), param="before") from error


async def _models(visit: Visit) -> list[str]:
    """Return the names that the model filter offers: those that are configured."""
    snapshot = await visit.control.machine.snapshot()
    named = [f"{spec.name}/{model}" for spec in snapshot.providers for model in spec.models]
    return sorted({*named, *snapshot.targets, *(release.model for release in snapshot.releases.values())})[
        :200
    ]


ROUTES = (
    Route("GET", "/calls", show),
    Route("GET", "/calls/rows", rows),
    Route("GET", "/calls.csv", download),
    Route("POST", "/views", add_view, "editor"),
    Route("POST", "/views/{id}/remove", remove_view, "editor"),
)
