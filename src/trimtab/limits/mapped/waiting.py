"""Calls that wait for others to settle: in order of arrival, without spinning."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from trimtab.limits.ports import Demand
from trimtab.limits.rules import Claims
from trimtab.types import ClientGone

from .denial import Denial
from .grant import MappedGrant
from .layout import Header

if TYPE_CHECKING:
    from .limiter import MappedLimiter

_LOOK_S: Final = 0.005
"""How often to look, while anybody waits, whether another process settled: one number is read."""
_DEAD_S: Final = 0.25
"""How often to look, while anybody waits, for processes that died."""


class _Waiter:
    """A call that waits."""

    __slots__ = ("claims", "demand", "last", "turn")

    def __init__(self, claims: Claims, demand: Demand, last: Denial, turn: "asyncio.Future[None]") -> None:
        self.claims = claims
        self.demand = demand
        self.last = last
        self.turn = turn
        """Done when there may be room."""


class Queue:
    """Those who wait in this process; one task looks after all of them, and only while there are any."""

    __slots__ = ("_limiter", "_task", "_waiters", "_woken")

    def __init__(self, limiter: "MappedLimiter") -> None:
        self._limiter = limiter
        self._waiters: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiters)

    def wake(self) -> None:
        """Something was settled here."""
        if self._waiters:
            self._woken.set()

    async def wait(
        self,
        claims: Claims,
        demand: Demand,
        denial: Denial,
        gone: Callable[[], Awaitable[None]] | None,
    ) -> MappedGrant:
        """Wait for room.

        Raises:
            LimitExceeded: there was none in time, or there never will be.
            ClientGone: nobody waits for the answer any more.
        """
        loop = asyncio.get_running_loop()
        waiter, until = _Waiter(claims, demand, denial, loop.create_future()), loop.time() + denial.wait_s
        self._waiters.append(waiter)
        if self._task is None or self._task.done():
            # It ends when nobody waits any more, and is kept until then.
            self._task = loop.create_task(self._look_after())
        # Cancelled below: it cannot be lost.
        leaving = loop.create_task(_leave(gone)) if gone is not None else None
        try:
            while (left_s := until - loop.time()) > 0:
                watched = (waiter.turn,) if leaving is None else (waiter.turn, leaving)
                await asyncio.wait(watched, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if leaving is not None and leaving.done():
                    raise ClientGone("the client closed its connection while its call waited for a budget")
                if waiter.turn.done() and (grant := self._try(waiter, loop)) is not None:
                    return grant
        finally:
            if leaving is not None:
                leaving.cancel()
            waiter.turn.cancel()
            self._waiters.remove(waiter)
        self._limiter.refused(waiter.last)
        raise waiter.last.error()

    def _try(self, waiter: _Waiter, loop: asyncio.AbstractEventLoop) -> MappedGrant | None:
        """Let a call in, if there is room now; what it takes is written down by its caller before anything else runs.

        Were it let in for it, a process that dies in between would leave budgets charged for what nobody recorded.
        """
        found = self._limiter.attempt(waiter.claims, waiter.demand)
        if not isinstance(found, Denial):
            return found
        if not found.wait_s:
            self._limiter.refused(found)
            raise found.error()
        waiter.last, waiter.turn = found, loop.create_future()
        return None

    async def _look_after(self) -> None:
        loop = asyncio.get_running_loop()
        limiter, seen, dead_at = self._limiter, -1, loop.time()
        while self._waiters:
            if (now := loop.time()) >= dead_at:
                dead_at = now + _DEAD_S
                limiter.check()
            settled = limiter.state.numbers[Header.SETTLED]
            if settled != seen or self._woken.is_set():
                self._woken.clear()
                seen = settled
                self._try_all()
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _try_all(self) -> None:
        """Give each its turn, in order of arrival."""
        for waiter in self._waiters:
            if not waiter.turn.done():
                waiter.turn.set_result(None)


async def _leave(gone: Callable[[], Awaitable[None]]) -> None:
    await gone()
