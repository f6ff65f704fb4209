"""Histograms over calls, and the workers' counters, as OTLP metrics.

All are cumulative since this process began: sending the same twice counts nothing twice, and what a collector missed
the next message holds. A process that died begins anew, with a new start time, as the data model has it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

from trimtab.types import Call

from .names import COUNTERS, GAUGES, INSTRUMENTS, METRIC_FACTS, Instrument
from .trees import attributes
from .wire import Tree

MOST_SERIES: Final = 2000
"""Of one instrument; more (a caller that makes up names of models) are counted together."""

_CUMULATIVE: Final = 2

Key = tuple[tuple[str, str], ...]

_OVERFLOW: Final[Key] = (("otel.metric.overflow", "true"),)
"""As the metrics SDK specification names what is over the limit of cardinality."""


class _Series:
    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


class Tally:
    """What has been counted since this was made."""

    def __init__(self, start_us: int) -> None:
        self._start_us = start_us
        self._series: list[dict[Key, _Series]] = [{} for _ in INSTRUMENTS]
        self._base: Mapping[str, int] | None = None

    def add(self, calls: Iterable[Call]) -> None:
        """Count calls. About 10 µs each."""
        for call in calls:
            key = tuple((fact.name, str(value)) for fact in METRIC_FACTS if (value := fact.of(call)))
            for instrument, series in zip(INSTRUMENTS, self._series, strict=True):
                value = instrument.of(call)
                if value is not None:
                    self._count(series, key, instrument, value)

    @staticmethod
    def _count(series: dict[Key, _Series], key: Key, instrument: Instrument, value: float) -> None:
        found = series.get(key)
        if found is None:
            if len(series) >= MOST_SERIES:
                key = _OVERFLOW
            found = series.setdefault(key, _Series(len(instrument.bounds) + 1))
        found.counts[bisect_left(instrument.bounds, value)] += 1  # upper bounds are inclusive
        found.total += value

    def trees(self, now_us: int, counters: Mapping[str, int]) -> list[Tree]:
        """Return all metrics; counters count from the first time they were seen here."""
        if self._base is None:
            self._base = dict(counters)
        times = {"startTimeUnixNano": self._start_us * 1000, "timeUnixNano": now_us * 1000}
        metrics: dict[str, Tree] = {}
        for instrument, series in zip(INSTRUMENTS, self._series, strict=True):
            points = [_point(instrument, key, found, times) for key, found in series.items()]
            if points and instrument.name in metrics:
                metrics[instrument.name]["histogram"]["dataPoints"] += points
            elif points:
                histogram = {"dataPoints": points, "aggregationTemporality": _CUMULATIVE}
                head = {"name": instrument.name, "description": instrument.about, "unit": instrument.unit}
                metrics[instrument.name] = {**head, "histogram": histogram}
        return [*metrics.values(), *self._sums(counters, times), *_gauges(counters, times)]

    def _sums(self, counters: Mapping[str, int], times: Tree) -> Iterable[Tree]:
        base = self._base or {}
        for counter, (name, unit) in COUNTERS.items():
            value = max(counters.get(counter, 0) - base.get(counter, 0), 0)
            points = [{**times, "asInt": value, "attributes": []}]
            data = {"dataPoints": points, "aggregationTemporality": _CUMULATIVE, "isMonotonic": True}
            yield {"name": name, "unit": unit, "sum": data}


def _gauges(counters: Mapping[str, int], times: Tree) -> Iterable[Tree]:
    for counter, (name, unit) in GAUGES.items():
        point = {
            "timeUnixNano": times["timeUnixNano"],
            "asInt": max(counters.get(counter, 0), 0),
            "attributes": [],
        }
        yield {"name": name, "unit": unit, "gauge": {"dataPoints": [point]}}


def _point(instrument: Instrument, key: Key, series: _Series, times: Tree) -> Tree:
    return {
        **times,
        "count": sum(series.counts),
        "sum": series.total,
        "bucketCounts": list(series.counts),
        "explicitBounds": list(instrument.bounds),
        "attributes": attributes((*key, *instrument.extra)),
    }
