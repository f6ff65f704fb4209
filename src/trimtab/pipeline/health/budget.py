"""What may be asked beyond one request a call: retries and hedges, as a share of the calls.

Source: Finagle's `RetryBudget` (twitter.github.io/finagle/guide/Clients.html#retries): calls pay in, extra requests
are paid from it, and a little is free at all times.
"""


class Budget:
    """A purse: each call puts `share` into it, each extra request takes 1 out."""

    __slots__ = ("_at", "_free", "_free_per_s", "_saved", "share")

    def __init__(self, share: float, free_per_s: float, now: float) -> None:
        """Start with ten seconds' worth of what is free.

        Args:
            share: extra requests per call.
            free_per_s: extra requests a second that no call has to pay for.
            now: the loop's time.
        """
        self.share = share
        self._free_per_s = free_per_s
        self._free = free_per_s * _SECONDS_KEPT
        self._saved = 0.0
        self._at = now

    def pay_in(self) -> None:
        """Note a call."""
        if self._saved < _MOST_SAVED:
            self._saved += self.share

    def take(self, now: float) -> bool:
        """Take one extra request's worth; False where there is not enough."""
        self._free = min(self._free + (now - self._at) * self._free_per_s, self._free_per_s * _SECONDS_KEPT)
        self._at = now
        if self._free >= 1:
            self._free -= 1
            return True
        if self._saved >= 1:
            self._saved -= 1
            return True
        return False


_SECONDS_KEPT = 10.0
_MOST_SAVED = 20.0
"""Kept small: what was saved in an hour of peace must not become a storm in a second."""
