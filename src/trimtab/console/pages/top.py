"""The first page's table of who and what the traffic was: by model, by user, by key."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from trimtab.console.sums import LEADING, Overview, Span, Sums
from trimtab.console.visit import Visit
from trimtab.storage import CallQuery
from trimtab.types import Call

By = Literal["models", "users", "keys"]

BY: tuple[By, ...] = get_args(By)

SHOWN = LEADING
"""Rows of the table."""

LOOKED_AT = 1_000
"""Newest calls that are summed where no rollup has the sums: some 20 ms of CPU."""

_DAY_S = 86_400


@dataclass(frozen=True)
class TopRow:
    """One model, user or key."""

    name: str
    address: str
    """Its calls; empty where no filter means them."""
    sums: Sums
    share: int
    """Its calls, in percent of the first row's."""


@dataclass(frozen=True)
class Top:
    """The table, and what its sums are over."""

    by: By
    rows: tuple[TopRow, ...]
    over: Literal["hours", "days", "newest", "all"]
    """Whole hours; whole days (UTC); the newest calls of the time range; all of its calls."""


def chosen(visit: Visit) -> By:
    """Return what an address asks for."""
    asked = visit.query.get("top", "")
    return next((by for by in BY if by == asked), "models")


async def top(visit: Visit, overview: Overview, span: Span) -> Top:
    """Return the table: out of rollups where one has it, else out of the newest calls of the time range."""
    by = chosen(visit)
    if by == "models":
        return _top(visit, span, by, overview.models, "hours")
    if by == "users" and span.seconds >= _DAY_S:
        ask = visit.control.records.top_users
        users = await visit.site.overviews.users(ask, span, visit.project, visit.now_us)
        return _top(visit, span, by, users, "days")
    query = CallQuery(project=visit.project, purpose="live", since_us=overview.since_us, limit=LOOKED_AT)
    calls = await visit.control.records.find(query, payload=False)
    over: Literal["newest", "all"] = "newest" if len(calls) == LOOKED_AT else "all"
    return _top(visit, span, by, _sums(calls, by), over, await _labels(visit, by))


def _top(
    visit: Visit,
    span: Span,
    by: By,
    found: list[tuple[str, Sums]],
    over: Literal["hours", "days", "newest", "all"],
    labels: dict[str, str] | None = None,
) -> Top:
    field = by.removesuffix("s")
    most = max((sums.calls for _, sums in found), default=0) or 1
    rows = tuple(
        TopRow(
            (labels or {}).get(name, name),
            visit.link("/calls", range=span.name, **{field: name}) if name else "",
            sums,
            round(100 * sums.calls / most),
        )
        for name, sums in found[:SHOWN]
    )
    return Top(by, rows, over)


def _sums(calls: Iterable[Call], by: By) -> list[tuple[str, Sums]]:
    """Return (user or key, sums of its calls), most calls first; calls without a user are left out."""
    groups: dict[str, Sums] = {}
    for call in calls:
        name = call.opened.user if by == "users" else call.opened.key
        if name or by == "keys":
            groups.setdefault(name, Sums()).add_call(call)
    return sorted(groups.items(), key=lambda item: (-item[1].calls, item[0]))


async def _labels(visit: Visit, by: By) -> dict[str, str]:
    if by == "users":
        return {}
    named = {key.id: key.name for key in await visit.control.objects.keys() if key.name}
    return named | {"": visit.t("home.no_key")}
