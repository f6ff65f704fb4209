"""The first page: what the models did, cost and answered, and what changed meanwhile."""

from starlette.responses import Response

from trimtab.console.examples import example_model, listed_models
from trimtab.console.routes import Route
from trimtab.console.sums import (
    SPANS,
    Overview,
    Span,
    Sums,
    span_of,
)
from trimtab.console.visit import Visit
from trimtab.storage import CallQuery
from trimtab.types import AuditEntry

from .top import BY, top

_CHANGES = ("key.", "project.", "provider.", "setting.", "config.", "release.", "route.", "workers.")
"""Beginnings of the actions after which models may answer otherwise; signing in is none."""

_QUIET = frozenset({"provider.test"})
_MOST_MARKS = 40
_UNRECORDED = ("unrecorded_opened", "unrecorded_closed")


async def show(visit: Visit) -> Response:
    """Return the first page; before the first call, how to make it."""
    overview, span = await _overview(visit)
    if not overview.total.calls and not await visit.control.records.find(CallQuery(limit=1), payload=False):
        return await _first_call(visit)
    changes = await _changes(visit, overview.since_us)
    failed = CallQuery(state="error", project=visit.project, since_us=overview.since_us, limit=6)
    return await visit.page(
        "home.html",
        title=visit.t("nav.home"),
        spans=[span.name for span in SPANS],
        span=span.name,
        sums=overview.total,
        before=await _before(visit, span),
        unrecorded=await _unrecorded(visit),
        top=await top(visit, overview, span),
        tops=BY,
        failed=await visit.control.records.find(failed, payload=False),
        changes=[
            {"at_us": entry.at_us, "label": visit.action(entry.action), "object": entry.object}
            for entry in changes[:8]
        ],
    )


async def waiting(visit: Visit) -> Response:
    """Tell the page that waits for the first call to load itself again once that is there."""
    there = await visit.control.records.find(CallQuery(limit=1), payload=False)
    return Response(status_code=204, headers={"hx-refresh": "true"} if there else None)


async def series(visit: Visit) -> Response:
    """Return the charts' figures: a value for each step, and marks where something changed."""
    overview, span = await _overview(visit)
    steps = overview.steps
    t = visit.t
    changes = (await _changes(visit, overview.since_us))[:_MOST_MARKS]
    return visit.json(
        {
            "time": [at for at, _ in steps],
            "step": span.step_s,
            "zone": str(visit.zone),
            "ok": [sums.calls - sums.errors for _, sums in steps],
            "errors": [sums.errors for _, sums in steps],
            "p50": [_rounded(sums.p50_ms) for _, sums in steps],
            "p95": [_rounded(sums.p95_ms) for _, sums in steps],
            "cost": [round(sums.cost_nusd / 1e9, 6) for _, sums in steps],
            "marks": [
                {"at": entry.at_us / 1e6, "text": f"{visit.action(entry.action)}: {entry.object}"}
                for entry in changes
            ],
            "labels": {
                name: t(f"home.chart_{name}") for name in ("ok", "errors", "p50", "p95", "cost", "time")
            },
        }
    )


async def _overview(visit: Visit) -> tuple[Overview, Span]:
    span = span_of(visit.query.get("range", ""))
    ask = visit.control.records.rollup
    return await visit.site.overviews.get(ask, span, visit.project, visit.now_us), span


async def _before(visit: Visit, span: Span) -> Sums | None:
    """Return the sums of the stretch before this one; None where that would be much to read, or is empty."""
    if span.seconds > 86_400:
        return None
    ask = visit.control.records.rollup
    sums = await visit.site.overviews.before(ask, span, visit.project, visit.now_us)
    return sums if sums.calls else None


async def _changes(visit: Visit, since_us: int) -> list[AuditEntry]:
    entries = await visit.control.people.audit(limit=200)
    return [
        entry
        for entry in entries
        if entry.at_us >= since_us
        and entry.outcome == "done"
        and entry.action.startswith(_CHANGES)
        and entry.action not in _QUIET
    ]


async def _unrecorded(visit: Visit) -> int | None:
    """Return how many calls the log could not take; None where the health does not say."""
    counters = (await visit.control.machine.health()).get("counters")
    if not isinstance(counters, dict):
        return None
    return sum(int(counters.get(name, 0)) for name in _UNRECORDED)


async def _first_call(visit: Visit) -> Response:
    machine = visit.control.machine
    snapshot = await machine.snapshot()
    url = visit.site.gateway_url or str((await machine.health()).get("gateway") or "http://127.0.0.1:8400")
    return await visit.page(
        "first_call.html",
        title=visit.t("nav.home"),
        gateway=url,
        model=example_model(snapshot),
        models=listed_models(snapshot)[:20],
        open_access=snapshot.policy.open_access and visit.site.bound_to_loopback,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


ROUTES = (
    Route("GET", "/", show),
    Route("GET", "/home/series.json", series),
    Route("GET", "/home/waiting", waiting),
)
