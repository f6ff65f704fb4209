"""Sums over a stretch of time, out of rollups: never out of calls."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from trimtab.stats import LogHistogram
from trimtab.storage import Cube, RollupRow
from trimtab.types import Call

_US_PER_S = 1_000_000
HOUR_US = 3600 * _US_PER_S
DAY_US = 24 * HOUR_US
LEADING = 12
"""Rows of a table of whom most calls were of."""

_OVERVIEWS_KEPT = 64

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Span:
    """A stretch of time that a page can show: which rollups have it, and in what steps."""

    name: str
    seconds: int
    step_s: int
    cube: Cube
    """For the steps."""
    models: Cube = "hour_model"
    """For the sums by model; the same one where the steps are long enough."""


SPANS: tuple[Span, ...] = (
    Span("1h", 3600, 60, "minute_project"),
    Span("6h", 6 * 3600, 300, "minute_project"),
    Span("24h", 24 * 3600, 3600, "hour_model"),
    Span("7d", 7 * 86_400, 3600, "hour_model"),
    Span("30d", 30 * 86_400, 6 * 3600, "sixhour_model", "sixhour_model"),
)


def span_of(name: str) -> Span:
    """Return the span of a name, a day where there is none such."""
    return next((span for span in SPANS if span.name == name), SPANS[2])


@dataclass
class Sums:
    """What some rollup rows come to."""

    calls: int = 0
    errors: int = 0
    unfinished: int = 0
    cost_nusd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    latency: LogHistogram = field(default_factory=LogHistogram)

    def add(self, row: RollupRow) -> None:
        """Add a row."""
        self.calls += row.calls
        self.errors += row.errors
        self.unfinished += row.unfinished
        self.cost_nusd += row.cost_nusd
        self.input_tokens += row.input_tokens
        self.output_tokens += row.output_tokens
        self.latency.merge_packed(row.latency)

    def add_call(self, call: Call) -> None:
        """Add one call."""
        closed = call.closed
        self.calls += 1
        self.errors += call.state == "error"
        self.unfinished += call.state == "unfinished"
        if closed is None:
            return
        self.cost_nusd += closed.cost_nusd
        self.input_tokens += closed.usage.input_tokens
        self.output_tokens += closed.usage.output_tokens
        if call.latency_ms is not None:
            self.latency.add(call.latency_ms)

    def join(self, other: "Sums") -> None:
        """Add other sums."""
        self.calls += other.calls
        self.errors += other.errors
        self.unfinished += other.unfinished
        self.cost_nusd += other.cost_nusd
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.latency.merge(other.latency)

    @property
    def error_share(self) -> float | None:
        """Failed calls of all; None where there are none."""
        return self.errors / self.calls if self.calls else None

    @property
    def p50_ms(self) -> float | None:
        """The median of latencies."""
        return self.latency.quantile(0.5)

    @property
    def p95_ms(self) -> float | None:
        """The latency that 95 of 100 calls stay below."""
        return self.latency.quantile(0.95)


@dataclass(frozen=True)
class Overview:
    """A span's sums: by step for the charts, by model for the table, and all together."""

    since_us: int
    until_us: int
    steps: list[tuple[int, Sums]]
    """(start in seconds since 1970, sums)."""
    models: list[tuple[str, Sums]]
    """Over whole cells of their cube."""
    total: Sums


Ask = Callable[[Cube, int, int], Awaitable[list[RollupRow]]]
"""`Records.rollup`."""

AskUsers = Callable[[int, int, str, int], Awaitable[list[RollupRow]]]
"""`Records.top_users`."""


class Overviews:
    """Makes overviews, and keeps each for a moment: a page and its charts ask for the same one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Overview] = OrderedDict()
        self._before: OrderedDict[tuple[str, str], tuple[int, Sums]] = OrderedDict()
        self._users: OrderedDict[tuple[str, str], tuple[int, list[tuple[str, Sums]]]] = OrderedDict()

    def forget(self) -> None:
        """Forget all of them: something was erased."""
        for kept in (self._kept, self._before, self._users):
            kept.clear()

    async def before(self, ask: Ask, span: Span, project: str, now_us: int) -> Sums:
        """Return the sums of the stretch as long as the span that ended where it begins; at most 60 s old."""
        key = (span.name, project)
        at_us, sums = self._before.get(key, (0, Sums()))
        if not 0 <= now_us - at_us < 60 * _US_PER_S:
            step_us, length_us = span.step_s * _US_PER_S, span.seconds * _US_PER_S
            until_us = (now_us - length_us) // step_us * step_us
            sums = total(of_project(await ask(span.cube, until_us - length_us, until_us), project))
            self._before[key] = (now_us, sums)
            while len(self._before) > _OVERVIEWS_KEPT:
                self._before.popitem(last=False)
        return sums

    async def users(self, ask: AskUsers, span: Span, project: str, now_us: int) -> list[tuple[str, Sums]]:
        """Return (user, sums) of the users with most calls over a span's whole days (UTC); at most 60 s old."""
        key = (span.name, project)
        at_us, found = self._users.get(key, (0, []))
        if not 0 <= now_us - at_us < 60 * _US_PER_S:
            since_us = (now_us - span.seconds * _US_PER_S) // DAY_US * DAY_US
            found = by_key(await ask(since_us, 0, project, LEADING))
            self._users[key] = (now_us, found)
            while len(self._users) > _OVERVIEWS_KEPT:
                self._users.popitem(last=False)
        return found

    async def get(self, ask: Ask, span: Span, project: str, now_us: int) -> Overview:
        """Return a span's overview, at most 3 s old, or 60 s where the span is longer than a day."""
        key = (span.name, project)
        age_us = (60 if span.seconds > 86_400 else 3) * _US_PER_S
        kept = self._kept.get(key)
        if kept is not None and 0 <= now_us - kept.until_us < age_us:
            return kept
        made = await _overview(ask, span, project, now_us)
        self._kept[key] = made
        self._kept.move_to_end(key)
        while len(self._kept) > _OVERVIEWS_KEPT:
            self._kept.popitem(last=False)
        return made


async def _overview(ask: Ask, span: Span, project: str, now_us: int) -> Overview:
    since_us = now_us - span.seconds * _US_PER_S
    step_us = span.step_s * _US_PER_S
    first_us = since_us // step_us * step_us
    if span.cube == span.models:
        cells = by_step_and_model(of_project(await ask(span.cube, first_us, 0), project), step_us)
        models = _joined((model, sums) for (_, model), sums in cells.items())
        by_start = _joined((start, sums) for (start, _), sums in cells.items())
    else:
        hours = of_project(await ask(span.models, since_us // HOUR_US * HOUR_US, 0), project)
        models = dict(by_key(hours))
        rows = of_project(await ask(span.cube, first_us, 0), project)
        by_start = dict(_grouped((row.start_us // step_us * step_us, row) for row in rows))
    steps = [(at // _US_PER_S, by_start.get(at) or Sums()) for at in range(first_us, now_us, step_us)]
    together = Sums()
    for _, sums in steps:
        together.join(sums)
    return Overview(since_us, now_us, steps, _most_calls_first(models), together)


def of_project(rows: Iterable[RollupRow], project: str) -> list[RollupRow]:
    """Return the rows of a project; of all, if it is empty."""
    return [row for row in rows if not project or row.key[0] == project]


def total(rows: Iterable[RollupRow]) -> Sums:
    """Return the sums over rows."""
    sums = Sums()
    for row in rows:
        sums.add(row)
    return sums


def by_key(rows: Iterable[RollupRow]) -> list[tuple[str, Sums]]:
    """Return (second part of the key, sums), most calls first."""
    return _most_calls_first(_grouped((row.key[1], row) for row in rows))


def by_step_and_model(rows: Iterable[RollupRow], step_us: int) -> dict[tuple[int, str], Sums]:
    """Return sums by (start of the step, model). Rows are added up once here, and few sums are joined after."""
    return _grouped(((row.start_us // step_us * step_us, row.key[1]), row) for row in rows)


def _grouped(rows: Iterable[tuple[_Key, RollupRow]]) -> dict[_Key, Sums]:
    groups: dict[_Key, Sums] = {}
    for key, row in rows:
        sums = groups.get(key)
        if sums is None:
            sums = groups[key] = Sums()
        sums.add(row)
    return groups


def _joined(parts: Iterable[tuple[_Key, Sums]]) -> dict[_Key, Sums]:
    groups: dict[_Key, Sums] = {}
    for key, part in parts:
        groups.setdefault(key, Sums()).join(part)
    return groups


def _most_calls_first(groups: dict[str, Sums]) -> list[tuple[str, Sums]]:
    return sorted(groups.items(), key=lambda item: (-item[1].calls, item[0]))
