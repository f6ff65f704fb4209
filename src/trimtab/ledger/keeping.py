"""How long calls are kept: days that are too old, days beyond the disk budget, a project's older calls."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from trimtab.storage import CallStore
from trimtab.types import Clock, Policy

_log = logging.getLogger(__name__)

_LOOK_S = 10.0
"""Between two looks at the space on disk: a full recorder writes some 100 MB meanwhile."""

_GB = 1_000_000_000

_STEP_US = 60_000_000
"""Wall clocks are slewed by milliseconds; one that is a minute off what it was, was set."""

_SETTLE_S = 3600.0
"""How long a wall clock that was set must stay so before calls are deleted by it: wrong ones are noticed sooner."""


class Keeper:
    """Enforces retention and disk budget on one store. Today's calls are never removed."""

    def __init__(self, store: CallStore, policy: Callable[[], Policy], clock: Clock) -> None:
        """Take what is asked for at each step anew: a running recorder obeys changes."""
        self._store = store
        self._policy = policy
        self._clock = clock
        self._looked_at = float("-inf")
        self._offset_us = self._wall_offset()
        """Of the wall clock against the monotonic one, as it is obeyed."""
        self._other_us = self._offset_us
        """What it is since it was set."""
        self._since = 0.0
        self._done: tuple[object, ...] = ()

    def step(self) -> tuple[list[str], int]:
        """Remove what is due; return the files that went, and how many calls of projects did.

        Days too old and a project's older calls are looked for when a day or the policy has changed, the space on
        disk every 10 s. Whole days are files that are deleted, so that works on a full disk too.

        Raises:
            StorageError: something could not be removed; the next step tries again.
        """
        policy = self._policy()
        self._follow_clock()
        today = self._day(0)
        removed: list[str] = []
        expired = 0
        key = (today, policy.retention_days, policy.project_retention)
        if key != self._done and policy.retention_days:
            removed += self._store.drop_before(self._day(policy.retention_days))
        removed += self._fit(policy.disk_gb, today)
        if key != self._done:
            limits = {name: self._day(days) for name, days in policy.project_retention.items() if days}
            expired = self._store.expire(limits) if limits else 0
        self._done = key
        return removed, expired

    def _fit(self, disk_gb: float, today: str) -> list[str]:
        """Drop the oldest days until the rest fits."""
        now = self._clock.monotonic()
        if not disk_gb or now - self._looked_at < _LOOK_S:
            return []
        sizes = sorted(self._store.disk_bytes().items())
        left = sum(size for _, size in sizes) - disk_gb * _GB
        first_kept = ""
        for number, (day, size) in enumerate(sizes, start=1):
            if left <= 0 or day >= today:
                break
            left -= size
            first_kept = min(sizes[number][0], today) if number < len(sizes) else today
        removed = self._store.drop_before(first_kept) if first_kept else []
        self._looked_at = now
        return removed

    def _follow_clock(self) -> None:
        """Obey the wall clock as it drifts; where it was set, only once it has stood so for an hour."""
        offset, now = self._wall_offset(), self._clock.monotonic()
        if abs(offset - self._offset_us) <= _STEP_US:
            self._offset_us = self._other_us = offset
        elif abs(offset - self._other_us) > _STEP_US:
            self._other_us, self._since = offset, now
            _log.warning(
                "the clock was set by %+.0f s: old calls are deleted by it once it has stood so for an hour",
                (offset - self._offset_us) / 1e6,
            )
        elif now - self._since >= _SETTLE_S:
            self._offset_us = self._other_us = offset

    def _wall_offset(self) -> int:
        return self._clock.now_us() - int(self._clock.monotonic() * 1e6)

    def _day(self, days_ago: int) -> str:
        """Return a day (UTC) as YYYYMMDD; the first there is where that lies before it."""
        now_us = self._offset_us + int(self._clock.monotonic() * 1e6)
        today = datetime.fromtimestamp(now_us // 1_000_000, UTC)
        try:
            return (today - timedelta(days=days_ago)).date().isoformat().replace("-", "")
        except OverflowError:
            return "00010101"
