"""The first page: what the models did, cost and answered, and what changed meanwhile."""

from dataclasses import dataclass

from starlette.responses import Response

from trimtab.console.routes import Route
from trimtab.console.sums import (
    HOUR_US,
    SPANS,
    Span,
    Sums,
    by_key,
    by_step,
    of_project,
    span_of,
    total,
)
from trimtab.console.visit import Visit
from trimtab.storage import CallQuery, RollupRow
from trimtab.types import AuditEntry

_CHANGES = ("key.", "project.", "provider.", "setting.", "config.", "release.", "route.", "reload")
"""Beginnings of the actions after which models may answer otherwise; signing in is none."""

_QUIET = frozenset({"provider.test"})
_MOST_MARKS = 40
_UNRECORDED = ("unrecorded_opened", "unrecorded_closed")
_ANY_MODEL = "own/smollm2"
"""For the examples, where no provider lists a model."""


@dataclass(frozen=True)
class _Stretch:
    """The time that the page shows."""

    span: Span
    since_us: int
    until_us: int


async def show(visit: Visit) -> Response:
    """Return the first page; before the first call, how to make it."""
    stretch = _stretch(visit)
    rows = await _rows(visit, stretch)
    if not rows and not await visit.control.records.find(CallQuery(limit=1), payload=False):
        return await _first_call(visit)
    hours = stretch.since_us // HOUR_US * HOUR_US
    models = of_project(await visit.control.records.rollup("hour_model", hours), visit.project)
    failed = CallQuery(state="error", project=visit.project, since_us=stretch.since_us, limit=6)
    return await visit.page(
        "home.html",
        title=visit.t("nav.home"),
        spans=[span.name for span in SPANS],
        span=stretch.span.name,
        sums=total(rows),
        before=await _before(visit, stretch),
        unrecorded=await _unrecorded(visit),
        models=by_key(models)[:12],
        users=await _users(visit, stretch),
        failed=await visit.control.records.find(failed, payload=False),
        changes=[
            {"at_us": entry.at_us, "label": _action(visit, entry), "object": entry.object}
            for entry in (await _changes(visit, stretch))[:8]
        ],
    )


async def waiting(visit: Visit) -> Response:
    """Tell the page that waits for the first call to load itself again once that is there."""
    there = await visit.control.records.find(CallQuery(limit=1), payload=False)
    return Response(status_code=204, headers={"hx-refresh": "true"} if there else None)


async def series(visit: Visit) -> Response:
    """Return the charts' figures: a value for each step, and marks where something changed."""
    stretch = _stretch(visit)
    steps = by_step(await _rows(visit, stretch), stretch.since_us, stretch.until_us, stretch.span.step_s)
    t = visit.t
    changes = (await _changes(visit, stretch))[:_MOST_MARKS]
    return visit.json(
        {
            "time": [at for at, _ in steps],
            "step": stretch.span.step_s,
            "zone": str(visit.zone),
            "ok": [sums.calls - sums.errors for _, sums in steps],
            "errors": [sums.errors for _, sums in steps],
            "p50": [_rounded(sums.p50_ms) for _, sums in steps],
            "p95": [_rounded(sums.p95_ms) for _, sums in steps],
            "cost": [round(sums.cost_nusd / 1e9, 6) for _, sums in steps],
            "marks": [
                {"at": entry.at_us / 1e6, "text": f"{_action(visit, entry)}: {entry.object}"}
                for entry in changes
            ],
            "labels": {
                name: t(f"home.chart_{name}") for name in ("ok", "errors", "p50", "p95", "cost", "time")
            },
        }
    )


def _stretch(visit: Visit) -> _Stretch:
    span = span_of(visit.query.get("range", ""))
    until_us = visit.now_us
    return _Stretch(span, until_us - span.seconds * 1_000_000, until_us)


async def _rows(visit: Visit, stretch: _Stretch) -> list[RollupRow]:
    step_us = stretch.span.step_s * 1_000_000
    since_us = stretch.since_us // step_us * step_us
    rows = await visit.control.records.rollup(stretch.span.cube, since_us)
    return of_project(rows, visit.project)


async def _before(visit: Visit, stretch: _Stretch) -> Sums | None:
    """Return the sums of the stretch before this one; None where that would be much to read, or is empty."""
    if stretch.span.seconds > 86_400:
        return None
    step_us = stretch.span.step_s * 1_000_000
    since_us = (2 * stretch.since_us - stretch.until_us) // step_us * step_us
    until_us = stretch.since_us // step_us * step_us
    rows = await visit.control.records.rollup(stretch.span.cube, since_us, until_us)
    sums = total(of_project(rows, visit.project))
    return sums if sums.calls else None


async def _users(visit: Visit, stretch: _Stretch) -> list[tuple[str, Sums]]:
    day_us = 24 * HOUR_US
    rows = await visit.control.records.rollup("day_user", stretch.since_us // day_us * day_us)
    return by_key(of_project(rows, visit.project))[:6]


async def _changes(visit: Visit, stretch: _Stretch) -> list[AuditEntry]:
    entries = await visit.control.people.audit(limit=200)
    return [
        entry
        for entry in entries
        if entry.at_us >= stretch.since_us
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
    named = [f"{spec.name}/{model}" for spec in snapshot.providers for model in spec.models]
    url = visit.site.gateway_url or str((await machine.health()).get("gateway") or "http://127.0.0.1:8400")
    return await visit.page(
        "first_call.html",
        title=visit.t("nav.home"),
        gateway=url,
        model=snapshot.default_model or (named or [_ANY_MODEL])[0],
        models=named[:20],
        open_access=snapshot.policy.open_access and visit.site.bound_to_loopback,
    )


def _action(visit: Visit, entry: AuditEntry) -> str:
    key = f"action.{entry.action}"
    return visit.t(key) if visit.site.words.has(key) else entry.action


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


ROUTES = (
    Route("GET", "/", show),
    Route("GET", "/home/series.json", series),
    Route("GET", "/home/waiting", waiting),
)
