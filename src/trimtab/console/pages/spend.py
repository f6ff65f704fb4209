"""Spend: what calls cost by day, and by model, key, project, user or route; and which models have no price."""

from starlette.responses import Response

from trimtab.console.costs import BY, RANGES, By, Spend
from trimtab.console.csv_out import spend_csv
from trimtab.console.routes import Route
from trimtab.console.visit import Visit

_SHOWN = 200
"""Rows of the table; the file has all."""


async def show(visit: Visit) -> Response:
    """Return the page without its figures: adding them up may take a second a million calls."""
    span, by = _asked(visit)
    return await visit.page(
        "spend.html", title=visit.t("nav.spend"), spans=list(RANGES), span=span, by=by, choices=BY
    )


async def figures(visit: Visit) -> Response:
    """Return the figures, for the page that waits for them."""
    span, by = _asked(visit)
    spend = await _spend(visit)
    return visit.fragment(
        "spend_part.html", spend=spend, rows=spend.rows[:_SHOWN], more=len(spend.rows) - _SHOWN, span=span, by=by,
        days=RANGES[span],
    )  # fmt: skip


async def series(visit: Visit) -> Response:
    """Return the chart's figures: a day each."""
    spend = await _spend(visit)
    # One more moment without figures: the last day's bar needs room to its right.
    times = [*(at for at, _ in spend.days), spend.days[-1][0] + 86_400]
    nothing = [None] * len(times)
    return visit.json(
        {
            "time": times,
            "step": 86_400,
            "zone": "UTC",
            "ok": nothing,
            "errors": nothing,
            "p50": nothing,
            "p95": nothing,
            "cost": [*(round(row.cost_nusd / 1e9, 6) for _, row in spend.days), None],
            "marks": [],
            "labels": {
                name: visit.t(f"home.chart_{name}") for name in ("ok", "errors", "p50", "p95", "cost", "time")
            },
        }
    )


async def download(visit: Visit) -> Response:
    """Return the table as a file for spreadsheets."""
    spend = await _spend(visit)
    return Response(
        spend_csv(spend.by, spend.rows),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="trimtab-spend.csv"'},
    )


def _asked(visit: Visit) -> tuple[str, By]:
    span = visit.query.get("range", "")
    by = next((name for name in BY if name == visit.query.get("by")), BY[0])
    return (span if span in RANGES else "30d"), by


async def _spend(visit: Visit) -> Spend:
    span, by = _asked(visit)
    return await visit.site.bills.get(visit.control.records.bill, span, by, visit.project, visit.now_us)


ROUTES = (
    Route("GET", "/spend", show),
    Route("GET", "/spend/figures", figures),
    Route("GET", "/spend/series.json", series),
    Route("GET", "/spend.csv", download),
)
