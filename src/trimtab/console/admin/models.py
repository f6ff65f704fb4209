"""Models: what is known of each, what its tokens cost since when, and how it does in our traffic."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from starlette.responses import Response

from trimtab.api import model_rows
from trimtab.catalog import Catalog, Price, Profile
from trimtab.console.routes import Route
from trimtab.console.sums import HOUR_US, Sums, by_key, of_project
from trimtab.console.visit import Visit
from trimtab.types import NotFound, format_usd

DAY_HOURS = 24
WEEK_HOURS = 7 * DAY_HOURS

TROUBLED = 0.05
"""Share of errors from which a model is said to be in trouble."""

DOWN = 0.5
"""Share of errors from which it is said to be down."""

FACTS = ("tools", "json_schema", "vision", "streaming", "logprobs", "reasoning", "embeddings")
"""Fields of a profile that are yes, no or not known."""

Health = Literal["good", "troubled", "down", "unused"]


@dataclass(frozen=True)
class ModelLine:
    """One model or route of the list."""

    id: str
    provider: str
    routes_to: tuple[str, ...]
    profile: Profile | None
    price: Price | None
    day: Sums
    hour: Sums

    @property
    def health(self) -> Health:
        """One word for the last hour or two."""
        failed = self.hour.error_share
        if failed is None:
            return "unused"
        return "down" if failed >= DOWN else "troubled" if failed >= TROUBLED else "good"


async def show(visit: Visit) -> Response:
    """Return the list, or with `id` one model's page."""
    catalog, lines = await _lines(visit)
    wanted = visit.query.get("id", "")
    if wanted:
        return await _one(visit, catalog, lines, wanted)
    fields = {"title": visit.t("nav.models"), "rows": lines, "per_million": per_million}
    return await visit.page("models.html", **fields)


async def _lines(visit: Visit) -> tuple[Catalog, list[ModelLine]]:
    now_us = visit.now_us
    snapshot, rows = await asyncio.gather(
        visit.control.machine.snapshot(),
        visit.control.records.rollup("hour_model", now_us - DAY_HOURS * HOUR_US),
    )
    catalog = visit.site.catalog(snapshot)
    rows = of_project(rows, visit.project)
    day, hour = dict(by_key(rows)), dict(by_key(row for row in rows if row.start_us > now_us - 2 * HOUR_US))
    known = {row["id"]: row for row in model_rows(snapshot, catalog, now_us)}
    names = sorted({*known, *day}, key=lambda name: (-day.get(name, Sums()).calls, name))
    return catalog, [
        ModelLine(
            id=name,
            provider=known.get(name, {}).get("provider") or name.partition("/")[0],
            routes_to=tuple(known.get(name, {}).get("routes_to", ())),
            profile=catalog.profile(name),
            price=catalog.price(name, now_us),
            day=day.get(name, Sums()),
            hour=hour.get(name, Sums()),
        )
        for name in names
    ]


async def _one(visit: Visit, catalog: Catalog, lines: list[ModelLine], wanted: str) -> Response:
    line = next((line for line in lines if line.id == wanted), None)
    cells = await visit.control.records.rollup("hour_model", visit.now_us - WEEK_HOURS * HOUR_US)
    week = dict(by_key(of_project(cells, visit.project))).get(wanted)
    if line is None and week is None and catalog.profile(wanted) is None:
        raise NotFound(f"nothing is known of a model {wanted[:200]!r}")
    line = line or ModelLine(
        wanted, wanted.partition("/")[0], (), catalog.profile(wanted), catalog.price(wanted, visit.now_us),
        Sums(), Sums(),
    )  # fmt: skip
    return await visit.page(
        "model.html",
        title=wanted,
        it=line,
        week=week or Sums(),
        prices=catalog.prices(wanted),
        version=catalog.version,
        facts=FACTS,
        per_million=per_million,
    )


def per_million(nusd: int) -> str:
    """Return a price of a million tokens in USD, in full.

    >>> per_million(2_500_000_000), per_million(75_000_000)
    ('$2.50', '$0.075')
    """
    return format_usd(nusd)


ROUTES = (Route("GET", "/models", show),)
