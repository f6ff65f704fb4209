"""Calls under way: at most so many at a time, and what they end in, as they end."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from .items import Item


class Job(msgspec.Struct, frozen=True):
    """A prompt that is ready to be sent."""

    index: int
    body: bytes
    digest: str
    """Of the body: what a resume file knows it by."""


class Window:
    """Asks up to `size` jobs at once, on the loop of its first turn.

    Only `free`, `busy` and `abandon` may be used from another thread.
    """

    def __init__(self, ask: Callable[[Job], Awaitable[Item]], size: int) -> None:
        self._ask = ask
        self._size = size
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: deque[Item] = deque()
        self._fault: BaseException | None = None
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._taken = 0

    @property
    def free(self) -> int:
        """How many jobs may be handed in."""
        return self._size - self._taken

    @property
    def busy(self) -> bool:
        """Whether something is under way, or has ended and was not handed out."""
        return self._taken > 0

    async def turn(self, jobs: Sequence[Job], *, wait: bool) -> list[Item]:
        """Begin these jobs, and return what has ended since the last turn.

        Args:
            jobs: at most `free` of them.
            wait: whether to wait until something has ended, or `wake` was called.
        """
        self._loop = asyncio.get_running_loop()
        for job in jobs:
            # The reference is kept until the task ends, and its error with it.
            task = self._loop.create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(self._end)
        self._taken += len(jobs)
        if not wait:
            await asyncio.sleep(0)  # whoever answers many prompts from a file leaves the loop its turn
        elif not self._ended and self._fault is None:
            await self._changed.wait()
        self._changed.clear()
        if self._fault is not None:
            raise self._fault
        ended = list(self._ended)
        self._ended.clear()
        self._taken -= len(ended)
        return ended

    def wake(self) -> None:
        """End a turn that waits."""
        self._changed.set()

    def abandon(self) -> None:
        """Cancel what is under way, at once; from any thread, without waiting."""
        if self._loop is not None and self._tasks and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    async def aclose(self) -> None:
        """Cancel what is under way, and wait for its end."""
        self._cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()

    async def _run(self, job: Job) -> None:
        self._ended.append(await self._ask(job))

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = self._fault or error  # raised in the turn that finds it
        self._changed.set()
