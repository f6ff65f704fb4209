"""Refusals that repeat themselves: noted once by themselves, and then counted, so that no log grows without bound."""

from collections import OrderedDict
from typing import Final, Generic, NamedTuple, TypeVar

from trimtab.types import Clock

_K = TypeVar("_K")

WINDOW_S: Final = 600.0
"""How long repetitions are counted before their number is noted: at most one entry of a kind in ten minutes."""

_REMEMBERED: Final = 4096
"""Kinds counted at a time; beyond it the oldest is handed out early."""


class Repeated(NamedTuple, Generic[_K]):
    """How often something was refused again."""

    kind: _K
    times: int


class Refusals(Generic[_K]):
    """Counts repetitions by kind: who tried what. For one event loop: nothing in it waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: OrderedDict[_K, tuple[float, int]] = OrderedDict()
        """Kind → since when, and how often since."""

    def is_first(self, kind: _K) -> bool:
        """Count one; return whether it is to be noted by itself. Ask for what is `due` before."""
        since, times = self._held.get(kind, (self._clock.monotonic(), -1))
        self._held[kind] = (since, times + 1)
        return times < 0

    def due(self) -> list[Repeated[_K]]:
        """Take the counts of windows that are over, oldest first."""
        before = self._clock.monotonic() - WINDOW_S
        taken: list[Repeated[_K]] = []
        while self._held:
            kind, (since, times) = next(iter(self._held.items()))
            if since > before and len(self._held) <= _REMEMBERED:
                break
            del self._held[kind]
            if times:
                taken.append(Repeated(kind, times))
        return taken

    def running(self) -> list[Repeated[_K]]:
        """Take the counts of windows that still run, and let them run on."""
        found = [Repeated(kind, times) for kind, (_, times) in self._held.items() if times]
        for kind, (since, _) in self._held.items():
            self._held[kind] = (since, 0)
        return found
