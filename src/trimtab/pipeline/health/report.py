"""What workers have seen of their targets, told to whoever asks: one small file a worker, written once a second.

Off the hot path: a call touches counters in memory only. Readers add the workers' files up.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from trimtab.storage import write_atomically
from trimtab.types import TargetHealth

_SUFFIX = ".targets"
_STALE_S = 10.0
"""A report older than this is of a worker that is gone."""
_encode = msgspec.json.Encoder().encode


class _Report(msgspec.Struct, frozen=True):
    at: float
    """Of the monotonic clock, which a machine's processes share."""
    targets: tuple[TargetHealth, ...]


_decode = msgspec.json.Decoder(_Report).decode


def publish(folder: Path, name: str, targets: Iterable[TargetHealth]) -> None:
    """Write one worker's report. Some 50 µs; not synced: it is worthless after a power cut.

    Raises:
        OSError: it cannot be written.
    """
    report = _Report(time.monotonic(), tuple(targets))
    write_atomically(folder / f"{name}{_SUFFIX}", _encode(report), durable=False)


def read_targets(folder: Path) -> list[TargetHealth]:
    """Return the health of each target over all workers, by name. Reads one small file a worker.

    Counts are added up, shares and latencies weighted by calls; the breaker is the machine's anyway.
    """
    found: dict[str, list[TargetHealth]] = {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            report = _decode(path.read_bytes())
        except (OSError, msgspec.DecodeError):
            continue  # gone, or of another version: its worker writes a new one in a second
        if -_STALE_S < time.monotonic() - report.at < _STALE_S:
            for seen in report.targets:
                found.setdefault(seen.target, []).append(seen)
    return [_together(seen) for _, seen in sorted(found.items())]


def _together(seen: list[TargetHealth]) -> TargetHealth:
    if len(seen) == 1:
        return seen[0]
    latest = max(seen, key=lambda one: one.last_error_us)
    open_here = max(seen, key=lambda one: (one.breaker != "closed", one.reopens_s))

    def mean(name: str) -> float:
        known = [(getattr(one, name), one.calls) for one in seen if getattr(one, name)]
        weight = sum(calls for _, calls in known)
        return round(sum(value * calls for value, calls in known) / weight, 3) if weight else 0.0

    return TargetHealth(
        target=latest.target,
        provider=latest.provider,
        breaker=open_here.breaker,
        reopens_s=open_here.reopens_s,
        calls=sum(one.calls for one in seen),
        failed=sum(one.failed for one in seen),
        bad_share=mean("bad_share"),
        in_flight=sum(one.in_flight for one in seen),
        p50_ms=mean("p50_ms"),
        p95_ms=mean("p95_ms"),
        ewma_ms=mean("ewma_ms"),
        opened=sum(one.opened for one in seen),
        last_error=latest.last_error,
        last_error_us=latest.last_error_us,
    )


_STATES = {"closed": 0, "half_open": 1, "open": 2}
_GAUGES: tuple[tuple[str, Literal["counter", "gauge"], str, Callable[[TargetHealth], float]], ...] = (
    ("breaker_state", "gauge", "0 closed, 1 half-open, 2 open.", lambda t: _STATES[t.breaker]),
    ("calls", "counter", "Attempts.", lambda t: t.calls),
    ("failures", "counter", "Attempts that failed.", lambda t: t.failed),
    ("bad_share", "gauge", "Share of the last attempts that failed or were slow.", lambda t: t.bad_share),
    ("in_flight", "gauge", "Attempts under way.", lambda t: t.in_flight),
    ("latency_p50_seconds", "gauge", "Median of the last attempts.", lambda t: t.p50_ms / 1000),
    ("latency_p95_seconds", "gauge", "95th percentile of the last attempts.", lambda t: t.p95_ms / 1000),
    (
        "latency_ewma_seconds",
        "gauge",
        "Peak-weighted mean, by which calls are balanced.",
        lambda t: t.ewma_ms / 1000,
    ),
    ("breaker_opened", "counter", "How often the breaker has opened.", lambda t: t.opened),
)


class TargetFigure(NamedTuple):
    """One measure of all targets."""

    name: str
    """Without the `_total` of a counter."""
    kind: Literal["counter", "gauge"]
    about: str
    samples: list[tuple[str, float]]
    """(target, value)."""


def target_figures(targets: Iterable[TargetHealth]) -> list[TargetFigure]:
    """Return targets' health measure by measure, as metrics have it; nothing where there are none."""
    rows = list(targets)
    return [
        TargetFigure(f"trimtab_target_{name}", kind, about, [(row.target, value(row)) for row in rows])
        for name, kind, about, value in (_GAUGES if rows else ())
    ]
