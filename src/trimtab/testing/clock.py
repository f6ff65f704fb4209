"""A clock that stands still until told otherwise."""

import threading


class FrozenClock:
    """A `types.Clock` for tests: both times move only by `advance`. Safe between threads."""

    def __init__(self, now_us: int = 1_735_689_600_000_000, monotonic_s: float = 1000.0) -> None:
        self._now_us = now_us
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Return the frozen UTC time in microseconds since 1970."""
        return self._now_us

    def monotonic(self) -> float:
        """Return the frozen monotonic time in seconds."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both times on.

        Raises:
            ValueError: the step is negative: monotonic time never goes back; `set_now_us` moves wall time.
        """
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds!r} s: expected 0 or more")
        with self._lock:
            self._now_us += round(seconds * 1_000_000)
            self._monotonic_s += seconds

    def set_now_us(self, now_us: int) -> None:
        """Set wall time alone, as a correction of a machine's clock does."""
        self._now_us = now_us
