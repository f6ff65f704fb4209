"""How often somebody may fail to sign in: a bucket of failures per name and per address, in bounded memory."""

from collections import OrderedDict
from typing import Final

from trimtab.types import Clock, RateLimited

PER_NAME: Final = 10
"""Failures of one name that are taken at once; one comes back every `_WINDOW_S / PER_NAME` seconds."""

PER_ADDRESS: Final = 50
"""The same of one address, for those who try one password on many names."""

_WINDOW_S: Final = 900.0
"""In which a full bucket empties: 10 failures of a name in a quarter of an hour, 40 in an hour."""

_REMEMBERED: Final = 4096
"""Names, and addresses, kept at most; the one that failed longest ago is forgotten first."""


class _Buckets:
    """Failures by key; each leaks away evenly."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def level(self, key: str, now: float) -> float:
        level, at = self._held.get(key, (0.0, now))
        return max(0.0, level - (now - at) * self.most / _WINDOW_S)

    def wait_s(self, key: str, now: float) -> float:
        """Return for how long nothing more is taken from `key`; 0 where something is."""
        over = self.level(key, now) + 1 - self.most
        return max(0.0, over * _WINDOW_S / self.most)

    def add(self, key: str, now: float, amount: float = 1.0) -> None:
        level = max(0.0, self.level(key, now) + amount)
        self._held.pop(key, None)
        if level:
            self._held[key] = (level, now)
        while len(self._held) > _REMEMBERED:
            self._held.popitem(last=False)

    def clear(self, key: str) -> None:
        self._held.pop(key, None)


class FailureLimiter:
    """Counts failed sign-ins. For one event loop: nothing in it waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._names = _Buckets(PER_NAME)
        self._addresses = _Buckets(PER_ADDRESS)

    def begin(self, name: str, address: str) -> None:
        """Count an attempt as failed before it is checked, so that attempts at the same time are counted too.

        Raises:
            RateLimited: there were too many failures of that name or from that address; nothing was counted.
        """
        now = self._clock.monotonic()
        wait_s = max(
            self._names.wait_s(_folded(name), now) if name else 0.0, self._addresses.wait_s(address, now)
        )
        if wait_s > 0:
            raise RateLimited(
                f"too many failed sign-ins; try again in {wait_s:.0f} s", retry_after_s=max(1.0, wait_s)
            )
        if name:
            self._names.add(_folded(name), now)
        self._addresses.add(address, now)

    def succeeded(self, name: str, address: str) -> None:
        """Take the attempt back, and forget the name's failures: its user is who they say."""
        self._names.clear(_folded(name))
        self._addresses.add(address, self._clock.monotonic(), -1.0)


def _folded(name: str) -> str:
    return name[:128].casefold()
