"""Sums over calls: rollups and sessions."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.replies import control_of, read_query, reply
from trimtab.api.table import Route
from trimtab.storage import Cube, RollupRow, SessionRow
from trimtab.types import CallerError, id_time_us

from .calls import Time


class RollupFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows."""

    cube: Cube = "hour_model"
    since_us: Time = 0
    until_us: Time = 0


class RollupList(msgspec.Struct, frozen=True, kw_only=True):
    """A cube's rows, oldest first; `latency` is a packed histogram in base64."""

    rows: list[RollupRow]


class SessionFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions."""

    project: str = ""
    before: Annotated[str, Meta(description="The last page's last `last_call`.")] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions, newest first."""

    sessions: list[SessionRow]


async def get_rollup(request: Request) -> Response:
    """Return sums over calls by time and model, prompt, user or project."""
    fields = read_query(request, RollupFields)
    rows = await control_of(request).records.rollup(fields.cube, fields.since_us, fields.until_us)
    return reply(RollupList(rows=rows))


async def list_sessions(request: Request) -> Response:
    """Return the sessions of the newest calls."""
    fields = read_query(request, SessionFields)
    if fields.before:
        try:
            id_time_us(fields.before)
        except ValueError as error:
            raise CallerError(f"before {fields.before[:80]!r} is no call's id", param="before") from error
    rows = await control_of(request).records.sessions(**msgspec.structs.asdict(fields))
    return reply(SessionList(sessions=rows))


ROUTES = (
    Route(
        method="GET", path="/api/v1/rollup", endpoint=get_rollup, action="traffic.read", role="viewer",
        summary="sums over calls: by hour and model, hour and prompt, day and user, minute and project",
        query=RollupFields, reply=RollupList,
    ),
    Route(
        method="GET", path="/api/v1/sessions", endpoint=list_sessions, action="session.list", role="viewer",
        summary="sessions of applications' users, newest first", query=SessionFields, reply=SessionList,
    ),
)  # fmt: skip
"""Every route of these nouns."""
