"""Recorded calls."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from trimtab.storage import CallQuery
from trimtab.types import Call, CallerError, NotFound

from .replies import control_of, reply

_MOST = 1000
"""Calls in one answer; older ones come with `before`."""


async def list_calls(request: Request) -> Response:
    """Return calls that match the query (fields of `CallQuery`), newest first; `payload=1` for the words."""
    fields = dict(request.query_params)
    payload = fields.pop("payload", "") in ("1", "true")
    query = call_query(fields)
    calls = await control_of(request).find_calls(query, payload=payload)
    older = calls[-1].id if len(calls) == query.limit else None
    return reply({"calls": [call_json(call, payload=payload) for call in calls], "before": older})


async def get_call(request: Request) -> Response:
    """Return one call with its words, attempts and feedback: 404 where there is none of that id."""
    call_id = request.path_params["id"]
    call = await control_of(request).call(call_id)
    if call is None:
        raise NotFound(
            f"there is no call {call_id!r}; `trimtab calls` lists those that are recorded", param="id"
        )
    return reply(call_json(call, payload=True))


def call_query(fields: dict[str, str]) -> CallQuery:
    """Return the query that a query string means.

    Raises:
        CallerError: a field is unknown, or its value cannot be used.
    """
    known = CallQuery.__struct_fields__
    for name in fields:
        if name not in known:
            raise CallerError(
                f"there is no filter {name!r}; there are: payload, {', '.join(known)}", param=name
            )
    try:
        query = msgspec.convert(fields, CallQuery, strict=False)
    except msgspec.ValidationError as error:
        raise CallerError(f"a filter cannot be used: {error}") from error
    if not 1 <= query.limit <= _MOST:
        raise CallerError(f"limit {query.limit} must be from 1 to {_MOST}; page with `before`", param="limit")
    return query


def call_json(call: Call, *, payload: bool) -> dict[str, Any]:
    """Return a call as JSON: `opened` and `closed` by field names; times are microseconds since 1970."""
    opened = msgspec.structs.asdict(call.opened)
    closed = None if call.closed is None else msgspec.structs.asdict(call.closed)
    for part, name in ((opened, "request"), (opened, "variables"), (closed, "response")):
        if part is not None:
            part[name] = _words(part[name], call.opened.payload) if payload else None
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


def _words(kept: bytes, policy: str) -> object:
    """Return kept words as JSON where they are JSON, as text or hash where not."""
    if not kept:
        return None
    if policy == "hash":
        return {"sha256": kept.hex()}
    try:
        return msgspec.json.decode(kept)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"text": kept.decode("utf-8", "replace")}
