"""Runs coroutines for callers without an event loop, on a thread of its own."""

import asyncio
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_END_S = 5.0
"""Longest wait for the loop to end."""


class Portal:
    """One event loop on a daemon thread, started at the first call.

    A thread that waits here hears Ctrl-C, and the call is cancelled then.
    """

    def __init__(self, at_end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Make a portal; no thread is started.

        Args:
            at_end: run in the loop before it stops: on `close`, when the portal is gone, or at exit.
        """
        self._at_end = at_end
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: weakref.finalize[..., Any] | None = None
        self._pid = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns, or raise what it raises; an interrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        finally:
            future.cancel()

    def close(self) -> None:
        """Stop the loop; a later call starts another."""
        with self._lock:
            if self._stop is not None:
                self._stop()
            self._loop = self._stop = None

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A forked child has the object but not the thread.
            if self._loop is None or self._pid != os.getpid():
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_serve, args=(loop,), name="trimtab-client", daemon=True)
                thread.start()
                if self._stop is not None:
                    self._stop.detach()
                self._stop = weakref.finalize(self, _end, os.getpid(), loop, thread, self._at_end)
                self._loop, self._pid = loop, os.getpid()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _end(
    pid: int,
    loop: asyncio.AbstractEventLoop,
    thread: threading.Thread,
    at_end: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    if os.getpid() != pid:
        return  # a forked child: the thread is the parent's
    if threading.current_thread() is thread:  # the last reference went in the loop itself
        loop.call_soon(loop.stop)
        return
    with contextlib.suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(at_end(), loop).result(_END_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_END_S)
