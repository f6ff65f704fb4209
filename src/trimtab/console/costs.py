"""What a call cost, part by part, and what calls of every purpose cost together."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

from trimtab.catalog import Catalog, Price
from trimtab.storage import BillQuery, BillRow
from trimtab.types import Call, charge_nusd

DAY_US = 86_400_000_000
By = Literal["model", "key", "project", "user", "route"]
BY: tuple[By, ...] = get_args(By)
RANGES = {"7d": 7, "30d": 30, "90d": 90}
"""Name → days, the present one included."""

_KEPT = 32
_FRESH_US = 60_000_000


@dataclass(frozen=True)
class CostPart:
    """Tokens of one kind."""

    name: str
    tokens: int
    rate_nusd: int | None
    """For a million tokens, or for one request or search; None where it is not known."""
    nusd: int | None


def cost_parts(call: Call, catalog: Catalog) -> list[CostPart]:
    """Return the disjoint parts of a call's usage, with money where the prices of then give the recorded sum.

    Where they do not (another table was in force, a service tier, a price by length), the parts have tokens only:
    a split that does not add up would be worse than none.
    """
    closed = call.closed
    if closed is None:
        return []
    price = catalog.price(closed.model, call.opened.opened_us) if closed.price_version else None
    if price is not None and closed.usage.tier:
        price = price.tiers.get(closed.usage.tier, price)
    if price is not None and price.long is not None and closed.usage.input_tokens > price.long_over_tokens:
        price = price.long
    parts = [(name, count, rate) for name, count, rate in _split(call, price) if count]
    sums = {
        name: rate * count if name in _EACH else charge_nusd([(count, rate)]) for name, count, rate in parts
    }
    adds_up = price is not None and closed.cost_nusd == price.charge(closed.usage)
    return [
        CostPart(name, count, rate, sums[name]) if adds_up else CostPart(name, count, None, None)
        for name, count, rate in parts
    ]


_EACH = frozenset({"request", "search"})
"""Parts that are billed one by one, not by the million."""


def _split(call: Call, price: Price | None) -> list[tuple[str, int, int]]:
    assert call.closed is not None
    u = call.closed.usage
    pictures_in = u.image_input_tokens if price and price.image_input != price.input else 0
    pictures_out = u.image_output_tokens if price and price.image_output != price.output else 0
    counts = {
        "input": u.input_tokens - u.cached_tokens - u.cache_write_tokens - u.audio_input_tokens - pictures_in,
        "cached": u.cached_tokens,
        "cache_write": u.cache_write_tokens - u.cache_write_1h_tokens,
        "cache_write_1h": u.cache_write_1h_tokens,
        "audio_input": u.audio_input_tokens,
        "image_input": pictures_in,
        "output": u.output_tokens - u.reasoning_tokens - u.audio_output_tokens - pictures_out,
        "reasoning": u.reasoning_tokens,
        "audio_output": u.audio_output_tokens,
        "image_output": pictures_out,
        "citation": u.citation_tokens,
        "search": u.searches,
        "request": 1 if price and price.request else 0,
    }
    return [(name, max(0, count), getattr(price, name) if price else 0) for name, count in counts.items()]


@dataclass(frozen=True)
class Spend:
    """A bill: rows by what was asked, and the days that they come to."""

    by: By
    rows: list[BillRow]
    """Most expensive first; the key is what was asked by."""
    days: list[tuple[int, BillRow]]
    """(start in seconds since 1970, sums), empty days too."""
    total: BillRow
    unpriced: list[BillRow]
    """Models with calls that have no known price."""

    @property
    def estimated_share(self) -> float | None:
        """Estimated calls of those that used something."""
        return self.total.estimated / self.total.requests if self.total.requests else None


Ask = Callable[[BillQuery], Awaitable[list[BillRow]]]
"""`Records.bill`."""


class Bills:
    """Makes bills, and keeps each for a minute: a page, its chart and its file ask for the same one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, By, str], tuple[int, Spend]] = OrderedDict()

    def forget(self) -> None:
        """Forget all of them: something was erased."""
        self._kept.clear()

    async def get(self, ask: Ask, span: str, by: By, project: str, now_us: int) -> Spend:
        """Return a bill over the days of a range; scans the calls of those days."""
        key = (span, by, project)
        at_us, spend = self._kept.get(key, (0, None))
        if spend is None or not 0 <= now_us - at_us < _FRESH_US:
            spend = await _spend(ask, RANGES[span], by, project, now_us)
            self._kept[key] = (now_us, spend)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return spend


async def _spend(ask: Ask, count: int, by: By, project: str, now_us: int) -> Spend:
    first = now_us // DAY_US - count + 1
    since_us = first * DAY_US
    cells = await ask(BillQuery(by=("day", by), since_us=since_us, project=project))
    models = cells
    if by != "model":
        models = await ask(BillQuery(by=("day", "model"), since_us=since_us, project=project))
    rows, days = _grouped(cells, 1), {row.key[0]: row for row in _grouped(cells, 0)}
    total = BillRow(key=())
    for row in rows:
        total = total.plus(row)
    return Spend(
        by=by,
        rows=rows,
        days=[(day * 86_400, days.get(_name(day), BillRow(key=()))) for day in range(first, first + count)],
        total=total,
        unpriced=[row for row in _grouped(models, 1) if row.unpriced],
    )


def _grouped(cells: list[BillRow], part: int) -> list[BillRow]:
    groups: dict[str, BillRow] = {}
    for cell in cells:
        name = cell.key[part]
        groups[name] = groups.get(name, BillRow(key=(name,))).plus(cell)
    return sorted(groups.values(), key=lambda row: (-row.cost_nusd, row.key))


def _name(day: int) -> str:
    """Return a day since 1970 as the store names it.

    >>> _name(20000)
    '2024-10-04'
    """
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()
