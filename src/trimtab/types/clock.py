"""The clock port: whatever needs the time is handed one, so that tests can freeze it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells wall-clock and monotonic time."""

    def now_us(self) -> int:
        """Return UTC as microseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now_us(self) -> int:
        """Return UTC as microseconds since 1970."""
        return time.time_ns() // 1000

    monotonic = staticmethod(time.monotonic)
    """Seconds since an arbitrary start."""
