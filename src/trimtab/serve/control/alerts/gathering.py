"""The facts that rules are judged by: read from rollups, counters and files, every few seconds."""

import re
import shutil
from collections import deque
from typing import Final

from trimtab.ledger import read_all
from trimtab.serve.control.compose import with_settings
from trimtab.serve.control.room import Room
from trimtab.storage import CallStore, RollupRow
from trimtab.telemetry import read_cursor
from trimtab.telemetry.alerts import Breakers, Budgets, Facts

_UNRECORDED: Final = ("unrecorded_opened", "unrecorded_closed", "unrecorded_feedback", "unrecorded_spans")
_LONGEST_US: Final = 86_400 * 1_000_000
_RECORDER: Final = re.compile(r"^(trimtab_recorder_(?:seen|lag)_seconds) ([0-9.e+-]+)$", re.MULTILINE)


class Gathering:
    """Gathers; remembers what counters said before."""

    def __init__(self, room: Room, budgets: Budgets, breakers: Breakers) -> None:
        self._room = room
        self._budgets = budgets
        self._breakers = breakers
        self._unrecorded: deque[tuple[int, int]] = deque()

    async def facts(self, window_s: int) -> Facts:
        """Return how things stand. About 2 ms on the call store's thread for a window of minutes.

        Args:
            window_s: how far back the longest rule looks.
        """
        now_us = self._room.clock.now_us()
        stored = await self._room.stores.app(lambda app: app.settings())
        policy = with_settings(self._room.base.policy, stored, self._room.fixed)
        disk_budget_bytes = policy.disk_gb * 1e9

        def read(calls: CallStore) -> tuple[list[RollupRow], int]:
            """Read what the call store knows."""
            since_us = now_us - (window_s + 60) * 1_000_000
            minutes = calls.rollup("minute_project", since_us - since_us % 60_000_000)
            return minutes, sum(calls.disk_bytes().values()) if disk_budget_bytes else 0

        minutes, stored_bytes = await self._room.stores.calls(read)
        layout = self._room.layout
        counted = read_all(layout.counters)
        self._unrecorded.append((now_us, sum(counted[name] for name in _UNRECORDED)))
        while self._unrecorded[0][0] < now_us - min(_LONGEST_US, (window_s + 60) * 1_000_000):
            self._unrecorded.popleft()
        disk = shutil.disk_usage(layout.root)
        return Facts(
            now_us=now_us,
            minutes=tuple(minutes),
            unrecorded=tuple(self._unrecorded),
            disk_free=disk.free / disk.total if disk.total else None,
            disk_budget=stored_bytes / disk_budget_bytes if disk_budget_bytes else None,
            recorder_lag_s=self._recorder_lag_s(now_us),
            failing_sinks=self._failing_sinks(),
            budgets=tuple(await self._budgets.shares()),
            open_breakers=tuple(await self._breakers.open_targets()),
        )

    def _recorder_lag_s(self, now_us: int) -> float | None:
        """Return the larger of what the recorder says of its lag and how long it has said nothing."""
        try:
            text = (self._room.layout.run / "recorder.prom").read_text("utf-8")
        except OSError:
            return None
        found = {name: float(value) for name, value in _RECORDER.findall(text)}
        seen_s = found.get("trimtab_recorder_seen_seconds", now_us / 1e6)
        return max(found.get("trimtab_recorder_lag_seconds", 0.0), now_us / 1e6 - seen_s)

    def _failing_sinks(self) -> tuple[str, ...]:
        config = self._room.config
        names = [sink.name for sink in config.telemetry.sinks] if config is not None else []
        feed = self._room.layout.feed
        return tuple(name for name in names if read_cursor(feed / f"{name}.cursor").error)
