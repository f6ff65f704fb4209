"""Sums over a stretch of time, out of rollups: never out of calls."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from trimtab.stats import LogHistogram
from trimtab.storage import Cube, RollupRow

_US_PER_S = 1_000_000
HOUR_US = 3600 * _US_PER_S


@dataclass(frozen=True)
class Span:
    """A stretch of time that a page can show: which rollup has it, and in what steps."""

    name: str
    seconds: int
    step_s: int
    cube: Cube


SPANS: tuple[Span, ...] = (
    Span("1h", 3600, 60, "minute_project"),
    Span("6h", 6 * 3600, 300, "minute_project"),
    Span("24h", 24 * 3600, 3600, "hour_model"),
    Span("7d", 7 * 86_400, 3600, "hour_model"),
    Span("30d", 30 * 86_400, 6 * 3600, "hour_model"),
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
        self.latency.merge(LogHistogram.unpack(row.latency))

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


def of_project(rows: Iterable[RollupRow], project: str) -> list[RollupRow]:
    """Return the rows of a project; of all, if it is empty."""
    return [row for row in rows if not project or row.key[0] == project]


def total(rows: Iterable[RollupRow]) -> Sums:
    """Return the sums over rows."""
    sums = Sums()
    for row in rows:
        sums.add(row)
    return sums


def by_key(rows: Iterable[RollupRow], part: int = 1) -> list[tuple[str, Sums]]:
    """Return (part of the key, sums), most calls first."""
    groups: dict[str, Sums] = {}
    for row in rows:
        groups.setdefault(row.key[part], Sums()).add(row)
    return sorted(groups.items(), key=lambda item: (-item[1].calls, item[0]))


def by_step(rows: Iterable[RollupRow], since_us: int, until_us: int, step_s: int) -> list[tuple[int, Sums]]:
    """Return (start in seconds since 1970, sums) of every step in the bounds, empty ones too."""
    step_us = step_s * _US_PER_S
    steps = {at: Sums() for at in range(since_us // step_us * step_us, until_us, step_us)}
    for row in rows:
        sums = steps.get(row.start_us // step_us * step_us)
        if sums is not None:
            sums.add(row)
    return [(at // _US_PER_S, sums) for at, sums in steps.items()]
