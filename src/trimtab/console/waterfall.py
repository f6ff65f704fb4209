"""A call's attempts as bars on one scale of time, in figures for an SVG."""

from dataclasses import dataclass

from trimtab.types import Call

from .shown import duration

WIDTH = 400
"""Of the scale, in the drawing's own units."""

ROW = 24
_LEAST = 1.5
"""Width below which a bar could not be seen."""

_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Bar:
    """One attempt."""

    x: float
    y: float
    width: float
    target: str
    result: str
    """The error code; empty: it answered."""
    status: int
    began: str
    took: str


@dataclass(frozen=True)
class Waterfall:
    """A drawing `WIDTH` units wide."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    first_byte: float | None
    """Where the first content came; None: there was none."""
    height: float


def waterfall(call: Call) -> Waterfall | None:
    """Return the drawing of a call's attempts; None where it has none."""
    closed = call.closed
    if closed is None or not closed.attempts:
        return None
    ends = [a.started_us + a.took_us for a in closed.attempts]
    total_us = max(1, closed.closed_us - call.opened.opened_us, *ends)
    scale = WIDTH / total_us
    bars = tuple(
        Bar(
            x=round(attempt.started_us * scale, 1),
            y=at * ROW,
            width=round(max(_LEAST, attempt.took_us * scale), 1),
            target=attempt.target,
            result=attempt.error_code,
            status=attempt.status,
            began=duration(attempt.started_us / 1000),
            took=duration(attempt.took_us / 1000),
        )
        for at, attempt in enumerate(closed.attempts)
    )
    first = round(closed.first_byte_us * scale, 1) if closed.first_byte_us else None
    return Waterfall(bars, _ticks(total_us, scale), first, len(bars) * ROW)


def _ticks(total_us: int, scale: float) -> tuple[tuple[float, str], ...]:
    """Return about four round times."""
    step = next(
        size * 10**power for power in range(12) for size in _STEPS if size * 10**power * 5 >= total_us
    )
    return tuple((round(at * scale, 1), duration(at / 1000)) for at in range(step, total_us, step))
