"""Recorded calls, and feedback on them."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from trimtab.api.replies import actor_of, control_of, read_json, reply, struct_of
from trimtab.api.table import Route
from trimtab.storage import CallQuery, Erasure, call_json, call_line
from trimtab.types import Call, CallerError, CallState, NotFound, Purpose, id_time_us

_MOST = 1000
"""Calls in one answer; older ones come with `before`."""

_MOST_EXPORTED = 10_000_000
_LATEST_US = 253_402_300_800_000_000
"""The year 10000: no time a call has, and none that arithmetic on times stumbles over."""

Time = Annotated[int, Meta(ge=0, le=_LATEST_US, description="Microseconds since 1970, UTC; 0: no bound.")]


class CallFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls; empty fields do not filter."""

    project: str = ""
    purpose: Purpose | None = None
    model: Annotated[str, Meta(description="`provider/model`, or `provider/` for all of it.")] = ""
    provider: str = ""
    route: str = ""
    release: str = ""
    state: CallState | None = None
    error_code: str = ""
    key: str = ""
    user: str = ""
    session: str = ""
    tag: str = ""
    since_us: Time = 0
    until_us: Time = 0
    text: Annotated[
        str,
        Meta(max_length=1000, description="Words that must all occur; a phrase stands in double quotes."),
    ] = ""
    before: Annotated[str, Meta(description="Id of the last page's last call.")] = ""
    limit: Annotated[int, Meta(ge=1, le=_MOST)] = 50


class ListFields(CallFields, frozen=True, kw_only=True):
    """Which calls, and whether with their words."""

    payload: Annotated[bool, Meta(description="Whether requests and answers come too.")] = False


class ExportFields(CallFields, frozen=True, kw_only=True):
    """Which calls, all of them."""

    limit: Annotated[int, Meta(ge=1, le=_MOST_EXPORTED)] = _MOST_EXPORTED


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """A call. Times are microseconds since 1970; `opened` and `closed` have the fields of the log format."""

    id: str
    state: CallState
    latency_ms: float | None
    opened: dict[str, Any]
    closed: dict[str, Any] | None
    feedback: list[dict[str, Any]]


class CallList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of calls, newest first."""

    calls: list[CallRow]
    before: str | None
    """What the next page takes as `before`; null: there is none."""


class NewFeedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of a call."""

    name: Annotated[str, Meta(min_length=1, max_length=100)] = "rating"
    score: float | None = None
    value: Annotated[str, Meta(max_length=1000)] = ""
    comment: Annotated[str, Meta(max_length=20_000)] = ""
    correction: Annotated[str, Meta(max_length=20_000)] = ""


class FeedbackRow(msgspec.Struct, frozen=True, kw_only=True):
    """Feedback as it was recorded."""

    id: str
    call_id: str
    at_us: int
    project: str
    name: str
    score: float | None
    value: str
    comment: str
    correction: str
    user: str


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose calls to erase: all fields given must match; one of user and session must be given."""

    project: str = ""
    user: str = ""
    session: str = ""


class ErasedReply(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure removed."""

    calls: int
    log_records: int
    backups: list[str]


async def list_calls(request: Request) -> Response:
    """Return calls that match the query, newest first."""
    fields = dict(request.query_params)
    payload = struct_of(fields, ListFields).payload
    fields.pop("payload", None)
    query = call_query(fields)
    calls = await control_of(request).records.find(query, payload=payload)
    older = calls[-1].id if len(calls) == query.limit else None
    return reply(CallList(calls=[call_row(call, payload=payload) for call in calls], before=older))


async def get_call(request: Request) -> Response:
    """Return one call with its words, attempts and feedback: 404 where there is none of that id."""
    call_id = request.path_params["id"]
    call = await control_of(request).records.get(call_id) if _is_id(call_id) else None
    if call is None:
        raise NotFound(
            f"there is no call {call_id[:80]!r}; `trimtab calls` lists those that are recorded", param="id"
        )
    return reply(call_row(call, payload=True))


async def export_calls(request: Request) -> Response:
    """Stream calls with their words, one a line as `trimtab import` reads them, newest first."""
    query = call_query(dict(request.query_params), ExportFields)
    pages = control_of(request).records.export(query)

    async def lines() -> AsyncIterator[bytes]:
        """Yield a page's lines at a time."""
        async for page in pages:
            yield b"".join(map(call_line, page))

    return StreamingResponse(
        lines(), media_type="application/x-ndjson", headers={"cache-control": "no-store"}
    )


async def give_feedback(request: Request) -> Response:
    """Record feedback on a call."""
    call_id = request.path_params["id"]
    given = await read_json(request, NewFeedback)
    if not _is_id(call_id):
        raise NotFound(f"there is no call {call_id[:80]!r}", param="id")
    fields = msgspec.structs.asdict(given)
    record = await control_of(request).records.give_feedback(actor_of(request), call_id, fields)
    made = {name: getattr(record, name) for name in FeedbackRow.__struct_fields__}
    return reply(FeedbackRow(**made), 201)


async def erase_calls(request: Request) -> Response:
    """Erase the calls of a user or session; returns when no trace is left in store and log."""
    whose = await read_json(request, Whose)
    what = Erasure(**msgspec.structs.asdict(whose))
    erased = await control_of(request).records.erase(actor_of(request), what)
    return reply(
        ErasedReply(calls=erased.calls, log_records=erased.log_records, backups=list(erased.backups))
    )


def call_query(fields: dict[str, str], kind: type[CallFields] = CallFields) -> CallQuery:
    """Return the query that a query string means.

    Raises:
        CallerError: a field is unknown, or its value cannot be used.
    """
    given = struct_of(fields, kind)
    if given.before and not _is_id(given.before):
        raise CallerError(f"before {given.before[:80]!r} is no call's id", param="before")
    return CallQuery(**msgspec.structs.asdict(given))


def _is_id(text: str) -> bool:
    try:
        id_time_us(text)
    except ValueError:
        return False
    return True


def call_row(call: Call, *, payload: bool) -> CallRow:
    """Return a call as JSON has it; its words only with `payload`."""
    return CallRow(**call_json(call, payload=payload))


ROUTES = (
    Route(
        method="GET", path="/api/v1/calls", endpoint=list_calls, action="call.list", role="viewer",
        summary="recorded calls, newest first; fields of the query are filters", query=ListFields, reply=CallList,
    ),
    Route(
        method="GET", path="/api/v1/calls/export", endpoint=export_calls, action="call.export", role="viewer",
        summary="all matching calls with their words, as the lines that `trimtab import` reads",
        query=ExportFields, reply=None, extra=("application/x-ndjson",),
    ),
    Route(
        method="POST", path="/api/v1/calls/erase", endpoint=erase_calls, action="call.erase", role="admin",
        summary="erases the calls of a user or session everywhere; returns when no trace is left",
        body=Whose, reply=ErasedReply,
    ),
    Route(
        method="GET", path="/api/v1/calls/{id}", endpoint=get_call, action="call.read", role="viewer",
        summary="one call with its words, attempts and feedback", reply=CallRow,
    ),
    Route(
        method="POST", path="/api/v1/calls/{id}/feedback", endpoint=give_feedback, action="feedback.give",
        role="editor", summary="records feedback on a call", body=NewFeedback, reply=FeedbackRow, status=201,
    ),
)  # fmt: skip
"""Every route of this noun."""
