"""Runs coroutines for callers without an event loop, on a thread of its own."""

import asyncio
import os
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Portal:
    """One event loop on a daemon thread, started at the first call.

    pyreqwest has a synchronous client too, but while it waits, Ctrl-C is not heard, and at its end the
    process may abort. A thread waiting here hears it, and the call is cancelled.
    """

    def __init__(self) -> None:
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
            if self._stop is not None and self._pid == os.getpid():
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
                self._stop = weakref.finalize(self, _end, loop, thread)
                self._loop, self._pid = loop, os.getpid()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=5)
