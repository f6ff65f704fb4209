"""Limits: how fast calls may come."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.answers import LimitRow, Published
from trimtab.api.replies import actor_of, control_of, read_json, reply
from trimtab.api.table import Route
from trimtab.types import LimitPer, LimitSpec

Matched = Annotated[str, Meta(max_length=256, description="Empty: any.")]


class LimitFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be said of a limit; at least one of the three figures is above 0."""

    key: Matched = ""
    """Id or name."""
    project: Matched = ""
    route: Matched = ""
    model: Matched = ""
    """`provider/model`, or a beginning of it with a `*` at the end."""
    per: LimitPer = "rule"
    requests_per_minute: Annotated[int, Meta(ge=0, le=10**9)] = 0
    tokens_per_minute: Annotated[int, Meta(ge=0, le=10**12)] = 0
    concurrency: Annotated[int, Meta(ge=0, le=10**6)] = 0
    burst_s: Annotated[float, Meta(ge=0, le=3600)] = 0.5


class LimitList(msgspec.Struct, frozen=True, kw_only=True):
    """All limits, of file and store."""

    limits: list[LimitRow]


class ChangedRule(msgspec.Struct, frozen=True, kw_only=True):
    """A limit or a budget that was added, changed or removed."""

    name: str
    published: Published


async def list_limits(request: Request) -> Response:
    """Return all limits, and how they stand."""
    return reply(LimitList(limits=await control_of(request).objects.limits()))


async def put_limit(request: Request) -> Response:
    """Add a limit, or change one that was added at run time."""
    name = request.path_params["name"]
    fields = await read_json(request, LimitFields)
    spec = LimitSpec(name=name, **msgspec.structs.asdict(fields))
    published = await control_of(request).objects.put_limit(actor_of(request), spec)
    return reply(ChangedRule(name=name, published=published))


async def remove_limit(request: Request) -> Response:
    """Remove a limit that was added at run time."""
    name = request.path_params["name"]
    published = await control_of(request).objects.remove_limit(actor_of(request), name)
    return reply(ChangedRule(name=name, published=published))


ROUTES = (
    Route(
        method="GET", path="/api/v1/limits", endpoint=list_limits, action="limit.list", role="viewer",
        summary="all limits, of file and store, and how they stand now", reply=LimitList,
    ),
    Route(
        method="PUT", path="/api/v1/limits/{name}", endpoint=put_limit, action="limit.change", role="admin",
        summary="adds a limit, or changes one that was added at run time", body=LimitFields, reply=ChangedRule,
    ),
    Route(
        method="DELETE", path="/api/v1/limits/{name}", endpoint=remove_limit, action="limit.remove", role="admin",
        summary="removes a limit that was added at run time", reply=ChangedRule,
    ),
)  # fmt: skip
"""Every route of this noun."""
