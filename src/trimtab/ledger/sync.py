"""Waiting for the disk: many callers share one synchronisation, which runs in a thread of its own."""

import asyncio
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
"""macOS only, where fsync leaves data in the drive's cache (its fsync(2)). Untested on a Mac."""


def sync_file(fd: int) -> None:
    """Return once what was written to the descriptor would survive a power cut.

    Raises:
        OSError: it would not; the kernel may have forgotten the data, so that trying again proves nothing.
    """
    if _FULL_SYNC is not None:
        fcntl.fcntl(fd, _FULL_SYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


class GroupSync:
    """Runs one synchronisation for all who wait when it starts; who comes later shares the next.

    Where one fails, all who wait by then are told: what they wrote may be among what the disk lost.
    Used from one event loop's thread.
    """

    __slots__ = ("_error", "_pool", "_running", "_sync", "_waiting")

    def __init__(self, sync: Callable[[], None]) -> None:
        """Prepare; `sync` is called in another thread, one at a time, and raises what waiters shall see."""
        self._sync = sync
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix="trimtab-sync")
        self._waiting: list[asyncio.Future[None]] = []
        self._running = False
        self._error: Exception | None = None
        """Of the last synchronisation."""

    async def wait(self) -> None:
        """Return once a synchronisation that began after this call has ended; raise what it raised."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiter)
        if not self._running:
            self._start(loop)
        await waiter

    def close(self) -> None:
        """Wait for a running synchronisation, then synchronise once more for whoever still waits."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=True)
        self._pool = None
        if self._error is None:
            self._run()
        batch, self._waiting = self._waiting, []
        _settle(batch, self._error)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._pool is None:
            return
        batch, self._waiting = self._waiting, []
        self._running = True
        job = loop.run_in_executor(self._pool, self._run)
        job.add_done_callback(lambda _: self._finish(batch, loop))

    def _run(self) -> None:
        try:
            self._sync()
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
            self._error = error
        else:
            self._error = None

    def _finish(self, batch: list[asyncio.Future[None]], loop: asyncio.AbstractEventLoop) -> None:
        self._running = False
        if self._error is not None:
            batch += self._waiting
            self._waiting = []
        _settle(batch, self._error)
        if self._waiting:
            self._start(loop)


def _settle(batch: list[asyncio.Future[None]], error: Exception | None) -> None:
    for waiter in batch:
        if waiter.done():  # its caller was cancelled meanwhile
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
