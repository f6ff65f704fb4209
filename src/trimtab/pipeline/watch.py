"""Deadlines of many calls with one timer: a call costs a set entry, not a timer and a task of its own."""

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Protocol

from trimtab.types.errors import ClientGone, TotalTimeout, TrimtabError

SWEEP_S = 0.025
"""How often deadlines are looked at: their resolution, and how soon a vanished client is first looked for."""


_LOOKS = 3
"""Sweeps in a row that must be late before the process counts as late."""


class Late(Protocol):
    """What is told that an answer is slow."""

    def late(self, now: float) -> None:
        """Note it; called once."""
        ...


class Watch:
    """Watches one call: cancels its task when the armed deadline passes, or when its client has gone.

    The cancelled code asks `raise_for` what happened; a cancellation from outside stays one.
    """

    __slots__ = (
        "_after_s",
        "_at",
        "_error",
        "_hurry",
        "_old_at",
        "_on_old",
        "_progress",
        "_seen",
        "_task",
        "_total_at",
        "_total_s",
        "fired",
        "paused",
        "slow",
        "slow_at",
        "steps",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        total_s: float,
        on_old: Callable[["Watch"], None] | None = None,
    ) -> None:
        """Watch the current task from now on; `on_old` is called once, when the call outlasts a sweep."""
        task = asyncio.current_task(loop)
        assert task is not None, "a call runs inside a task"
        self._task: asyncio.Task[object] | None = task
        self._total_s = total_s
        now = loop.time()
        self._old_at = now + SWEEP_S
        self._total_at = now + total_s
        self._at = self._total_at
        self._after_s = total_s
        self._error: Callable[[], TrimtabError] | None = None
        self._progress: Callable[[], int] | None = None
        self._seen = 0
        self._on_old = on_old
        self._hurry: tuple[float, Callable[[], TrimtabError]] | None = None
        """The total deadline that stands back while an earlier one is in force, and that one's error."""
        self.slow_at = inf
        """When `slow` is told that its answer is late; infinity once it was."""
        self.slow: Late | None = None
        self.fired: TrimtabError | None = None
        self.steps = 0
        """Raised with each piece of an answer: as long as it grows, the phase's deadline begins anew."""
        self.paused = False
        """True while the client keeps us waiting: that time is not the provider's."""

    def arm(
        self,
        after_s: float,
        error: Callable[[], TrimtabError],
        now: float,
        progress: Callable[[], int] | None = None,
    ) -> None:
        """Set the deadline of the present phase; it replaces the one before.

        Args:
            after_s: seconds from `now` on.
            error: what the call ends in then.
            now: the loop's time.
            progress: a count of bytes; as long as it keeps growing, the deadline begins anew.
        """
        self._after_s = after_s
        self._at = now + after_s
        self._error = error
        self._progress = progress
        self._seen = self.steps

    def disarm(self) -> None:
        """Leave only the call's total deadline."""
        self._at = self._total_at
        self._error = None
        self.slow_at = inf

    def hurry(self, at: float, error: Callable[[], TrimtabError]) -> None:
        """Put an earlier deadline in the total one's place, until `relax`.

        Args:
            at: when, on the loop's clock.
            error: what the call ends in then.
        """
        if at < self._total_at:
            self._hurry = (self._total_at, error)
            self._total_at = at
            self._at = min(self._at, at)

    def relax(self) -> None:
        """Put the total deadline back in its place."""
        if self._hurry is not None:
            self._total_at, self._hurry = self._hurry[0], None
            self.disarm()

    def total(self) -> float:
        """Return when the whole call must be over, on the loop's clock."""
        return self._total_at

    def look(self, now: float) -> None:
        """Check the deadlines; called by the sweeper."""
        if self._on_old is not None and now >= self._old_at:
            start, self._on_old = self._on_old, None
            start(self)
        if now >= self.slow_at:
            self.slow_at = inf
            assert self.slow is not None, "it is set together with the time"
            self.slow.late(now)
        if self.fired is not None:
            return
        seen = self.steps if self._progress is None else self.steps + self._progress()
        if self.paused or seen != self._seen:
            self._seen = seen
            if self._error is not None:
                self._at = now + self._after_s
        if now >= self._at or now >= self._total_at:
            self._fire(now)

    def client_gone(self) -> None:
        """The client closed its connection: stop."""
        if self.fired is None and self._task is not None:
            self.fired = ClientGone("the client closed its connection before the answer was complete")
            self._task.cancel()

    def _fire(self, now: float) -> None:
        if self._hurry is not None and now >= self._total_at:
            self.fired = self._hurry[1]()
        elif self._error is None or now >= self._total_at:
            self.fired = TotalTimeout(f"the call took longer than its total deadline of {self._total_s:g} s")
        else:
            self.fired = self._error()
        if self._task is not None:
            self._task.cancel()

    def release(self) -> None:
        """Let go of the call and its task: a cycle of references would wait for the garbage collector."""
        self._task = None
        self._on_old = self._error = self._progress = self.slow = None
        self.slow_at = inf

    def cause(self) -> TrimtabError | None:
        """Called on `CancelledError`: return what this watch cancelled for, or None if it was not this watch."""
        fired, task = self.fired, asyncio.current_task()
        if fired is None or task is None or task.uncancel() > 0:
            return None
        self.fired = None
        return fired

    def raise_for(self) -> None:
        """Called on `CancelledError`: raise what this watch cancelled for, if it was this watch.

        Raises:
            TrimtabError: the deadline's error, or `ClientGone`.
        """
        cause = self.cause()
        if cause is not None:
            raise cause


class Sweeper:
    """Looks at all watches every `SWEEP_S` seconds, while there are any."""

    __slots__ = ("_due", "_forgave", "_late", "_stood_s", "_timer", "lag_s", "loop", "watches")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.watches: set[Watch] = set()
        """One for each open call, and for each request of a hedged one."""
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._forgave = False
        """Whether the last sweep was so late that it left the deadlines alone."""
        self._late: deque[float] = deque((0.0,) * _LOOKS, maxlen=_LOOKS)
        """How late the last sweeps were, in seconds."""
        self.lag_s = 0.0
        """How late this process runs: the least of the last few sweeps' delays, so that one hiccup is none."""
        self._stood_s = 0.0

    def stood_s(self, now: float) -> float:
        """Return how long this process has stood still so far, in all, in seconds.

        The difference of two such sums is what a call took longer through no fault of its target.
        """
        return self._stood_s + max(now - self._due, 0.0) if self._timer is not None else self._stood_s

    def add(self, watch: Watch) -> None:
        """Begin to look at a watch."""
        self.watches.add(watch)
        if self._timer is None:
            self._due = self.loop.time() + SWEEP_S
            self._timer = self.loop.call_later(SWEEP_S, self._sweep)

    def remove(self, watch: Watch) -> None:
        """Stop looking at a watch, for good."""
        self.watches.discard(watch)
        watch.release()

    def _sweep(self) -> None:
        now = self.loop.time()
        late_s = now - self._due
        self._late.append(late_s)
        self.lag_s = min(self._late)
        self._stood_s += late_s
        if not self.watches:
            self._timer = None
            return
        # A process that stood still has not read what arrived in time: that is read before anybody is blamed. Only
        # once in a row: one that always runs late must keep its deadlines too.
        self._forgave = late_s > SWEEP_S and not self._forgave
        for watch in tuple(self.watches):
            if late_s > SWEEP_S:
                watch.slow_at += late_s  # no target is slow for what this process did not do
            if not self._forgave:
                watch.look(now)
        self._due = self.loop.time() + SWEEP_S
        self._timer = self.loop.call_later(SWEEP_S, self._sweep)
