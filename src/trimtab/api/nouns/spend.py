"""What calls cost, by whatever a bill is asked by."""

from typing import Annotated, get_args

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.replies import control_of, read_query, reply
from trimtab.api.table import Route
from trimtab.storage import BillKey, BillQuery, BillRow
from trimtab.types import CallerError

from .calls import Time

MOST_KEYS = 3


class SpendFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls, and by what."""

    by: Annotated[str, Meta(description="Up to three of the keys, with commas: `day,model`.")] = "model"
    since_us: Time = 0
    until_us: Time = 0
    project: str = ""
    provider: str = ""
    upstream: Annotated[bool, Meta(description="Without answers from our own cache.")] = False


class SpendList(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over calls of every purpose, in the order of keys."""

    rows: list[BillRow]


async def get_spend(request: Request) -> Response:
    """Return what calls used and cost."""
    fields = read_query(request, SpendFields)
    by = tuple(name for name in fields.by.split(",") if name)
    known = get_args(BillKey)
    if not 0 < len(by) <= MOST_KEYS or not set(by) <= set(known):
        raise CallerError(
            f"by {fields.by[:80]!r} must be up to {MOST_KEYS} of {', '.join(known)}", param="by"
        )
    query = msgspec.convert(msgspec.structs.asdict(fields) | {"by": by}, BillQuery)
    return reply(SpendList(rows=await control_of(request).records.bill(query)))


ROUTES = (
    Route(
        method="GET", path="/api/v1/spend", endpoint=get_spend, action="spend.read", role="viewer",
        summary="what calls of every purpose used and cost, by day, project, key, user, route, model or provider",
        query=SpendFields, reply=SpendList,
    ),
)  # fmt: skip
"""Every route of this noun."""
