"""The kinds of rules, as data: unit, defaults, and how a value is read off the facts."""

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from trimtab.stats import LogHistogram
from trimtab.storage import RollupRow
from trimtab.types import AlertKind, AlertRule

from .facts import Facts

Unit = Literal["share", "ms", "s", "count"]


class Reading(NamedTuple):
    """What a rule saw."""

    value: float
    about: str = ""
    """Which of several things it is: a budget, targets, sinks."""


class Kind(NamedTuple):
    """One kind of rule."""

    unit: Unit
    threshold: float
    clear: float
    window_s: int
    """0: it looks at the present only."""
    says: str
    """A sentence with `{value}`, `{about}` and `{window}` as places."""
    read: Callable[[Facts, AlertRule, int], Reading | None]
    """(facts, rule, window in seconds) → what it saw; None: too little is known."""
    below: bool = False
    """Whether it fires below its threshold, and not above."""
    by_project: bool = False
    """Whether a rule's project means anything to it."""


def _window(facts: Facts, rule: AlertRule, window_s: int) -> Iterator[RollupRow]:
    since_us = facts.now_us - window_s * 1_000_000
    for row in facts.minutes:
        # A minute counts as soon as its end lies in the window: up to a minute more than asked for.
        if row.start_us + 60_000_000 > since_us and rule.project in ("", row.key[0]):
            yield row


def _error_rate(facts: Facts, rule: AlertRule, window_s: int) -> Reading | None:
    calls = errors = 0
    for row in _window(facts, rule, window_s):
        calls += row.calls
        errors += row.errors
    return Reading(errors / calls) if calls and calls >= rule.min_calls else None


def _latency(facts: Facts, rule: AlertRule, window_s: int) -> Reading | None:
    together = LogHistogram()
    for row in _window(facts, rule, window_s):
        together.merge_packed(row.latency)
    value = together.quantile(0.95) if together.count >= max(rule.min_calls, 1) else None
    return None if value is None else Reading(value)


def _traffic(facts: Facts, rule: AlertRule, window_s: int) -> Reading | None:
    return Reading(sum(row.calls for row in _window(facts, rule, window_s)))


def _budget(facts: Facts, rule: AlertRule, window_s: int) -> Reading | None:
    mine = [found for found in facts.budgets if rule.project in ("", found.project)]
    most = max(mine, key=lambda found: found.share, default=None)
    return None if most is None else Reading(most.share, most.name)


def _breakers(facts: Facts, rule: AlertRule, window_s: int) -> Reading | None:
    return Reading(len(facts.open_breakers), ", ".join(facts.open_breakers))


def _unrecorded(facts: Facts, rule: AlertRule, window_s: int) -> Reading | None:
    since_us = facts.now_us - window_s * 1_000_000
    seen = [count for at_us, count in facts.unrecorded if at_us >= since_us]
    return Reading(seen[-1] - seen[0]) if seen else None


def _of(field: str) -> Callable[[Facts, AlertRule, int], Reading | None]:
    def read(facts: Facts, rule: AlertRule, window_s: int) -> Reading | None:
        value: float | None = getattr(facts, field)
        return None if value is None else Reading(value)

    return read


def _sinks(facts: Facts, rule: AlertRule, window_s: int) -> Reading | None:
    return Reading(len(facts.failing_sinks), ", ".join(facts.failing_sinks))


KINDS: Final[dict[AlertKind, Kind]] = {
    "error_rate": Kind(
        "share", 0.05, 0.03, 300, "{value} of the calls of the last {window} failed", _error_rate, by_project=True,
    ),
    "latency_p95": Kind(
        "ms", 20_000, 15_000, 300, "95 % of the calls of the last {window} took up to {value}", _latency,
        by_project=True,
    ),
    "no_traffic": Kind("count", 1, 1, 900, "{value} calls within {window}", _traffic, below=True, by_project=True),
    "budget": Kind("share", 0.8, 0.75, 0, "{value} of the budget {about} is spent", _budget, by_project=True),
    "breaker_open": Kind("count", 1, 1, 0, "{value} targets are left alone: {about}", _breakers),
    "unrecorded": Kind("count", 1, 1, 300, "{value} records of calls were lost within {window}", _unrecorded),
    "disk_free": Kind("share", 0.1, 0.12, 0, "{value} of the disk is free", _of("disk_free"), below=True),
    "disk_budget": Kind("share", 0.9, 0.85, 0, "recorded calls take {value} of the disk budget", _of("disk_budget")),
    "recorder_behind": Kind(
        "s", 60, 20, 0, "calls wait for {value} to be stored; none is lost", _of("recorder_lag_s")
    ),
    "export_failing": Kind("count", 1, 1, 0, "{value} sinks take nothing: {about}", _sinks),
}  # fmt: skip
"""Every kind. A rule is past its threshold from the threshold on (`below`: under it), and clear beyond `clear`."""


def is_past(kind: Kind, value: float, edge: float) -> bool:
    """Tell whether a value is at or past an edge, in the direction in which the kind fires."""
    return value < edge if kind.below else value >= edge


def shown(unit: Unit, value: float) -> str:
    """Return a value for people.

    >>> shown("share", 0.057), shown("ms", 1234.0), shown("s", 75), shown("count", 3.0)
    ('5.7 %', '1.2 s', '75 s', '3')
    """
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit == "ms":
        return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.3g} s"
    return f"{value:.3g} s" if unit == "s" else f"{value:.0f}"
