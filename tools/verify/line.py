"""One promise and what came of it; and what a check is given to work with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.figures import Figure

Outcome = Literal["PASS", "FAIL", "NOT RUN"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report."""

    promise: str
    outcome: Outcome
    figure: str = ""
    limit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What every check may use."""

    root: Path
    """The repository."""
    scratch: Path
    """An empty folder of the check's own, removed after it."""
    python: Path
    """The environment's Python."""
    say: Callable[[str], None]
    """Progress."""


class CannotRun(Exception):
    """A check needs what is not here; the message says what, and how to get it."""


def at_most(promise: str, value: float, limit: float, unit: str, note: str = "") -> Line:
    """Judge a figure that must not be larger."""
    return _judged(Figure(promise, "", value, unit, limit, "<=", note))


def at_least(promise: str, value: float, limit: float, unit: str, note: str = "") -> Line:
    """Judge a figure that must not be smaller."""
    return _judged(Figure(promise, "", value, unit, limit, ">=", note))


def held(promise: str, ok: bool, note: str = "") -> Line:
    """Judge a promise without a figure."""
    return Line(promise, "PASS" if ok else "FAIL", note=note)


def from_figures(figures: Sequence[Figure]) -> list[Line]:
    """Turn the bench's figures into lines; those without a limit stand together in one."""
    limited = [_judged(f) for f in figures if f.limit is not None]
    free = [f"{f.measure} of {f.subject}: {f.shown}" for f in figures if f.limit is None]
    if free:
        limited.append(Line("beside them, without a limit", "PASS", note="; ".join(free)))
    return limited


def _judged(f: Figure) -> Line:
    name = f"{f.measure}: {f.subject}" if f.subject not in ("", "Trimtab") else f.measure
    return Line(name, "PASS" if f.passed else "FAIL", f.shown, f.limit_shown, f.note)
