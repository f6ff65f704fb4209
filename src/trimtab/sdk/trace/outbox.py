"""Sending spans in the background: never in the way of the program, and every one accounted for."""

import asyncio
import atexit
import logging
import os
import threading
import time
from collections import deque
from typing import Protocol

import msgspec

from trimtab.sdk.errors import ApiError
from trimtab.sdk.spans import FinishedSpan

_log = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""Spans that wait to be sent; further ones are dropped, and counted."""
_AT_ONCE = 200
_GATHER_S = 0.5
"""How long to let spans gather before they are sent."""
_BACKOFF_S = (1.0, 30.0)
"""After a failure that may pass: the first pause, doubled each time up to the second."""
_EXIT_S = 2.0
"""How long the program's end may wait for delivery."""


class Exporter(Protocol):
    """Where spans go. Called from one thread, on one event loop of its own."""

    async def send(self, spans: list[FinishedSpan]) -> int:
        """Deliver spans; return how many were taken. Delivering one twice must be harmless.

        Raises:
            ApiError: none was; where it is `retryable`, they are sent again later.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all spans so far."""

    accepted: int
    failed: int
    """Refused, for good."""
    dropped: int
    """Never sent, for too many were waiting."""
    waiting: int
    """Neither delivered nor given up yet."""
    error: str
    """Why the last delivery failed; empty where it did not."""


class Outbox:
    """A bounded queue, and the thread that empties it; started by the first span."""

    def __init__(self, exporter: Exporter, *, most: int = MOST_WAITING) -> None:
        self._exporter = exporter
        self._most = most
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[FinishedSpan] = deque()
        self._sending = self._accepted = self._failed = self._dropped = 0
        self._error = ""
        self._hurry = self._stop = False
        self._failures = 0
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def put(self, span: FinishedSpan) -> None:
        """Take a span; returns at once, and never raises."""
        if self._pid != os.getpid():
            self._reset()  # a forked child: the spans and the thread are its parent's
        with self._changed:
            if len(self._queue) >= self._most or self._stop:
                self._dropped += 1
                return
            self._queue.append(span)
            if self._thread is None:
                self._start()
            elif len(self._queue) in (1, _AT_ONCE):
                self._changed.notify_all()

    def flush(self, timeout_s: float = 10.0) -> Delivery:
        """Send what waits, now, and return what became of everything.

        Returns as soon as all is delivered, a delivery fails, or the time is over. Blocks: from a coroutine, call it
        with `asyncio.to_thread`.
        """
        until = time.monotonic() + timeout_s
        with self._changed:
            failures = self._failures
            self._hurry = True
            self._changed.notify_all()
            while (self._queue or self._sending) and self._thread is not None and self._failures == failures:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._hurry = False
            return self._delivery()

    def close(self, timeout_s: float = 10.0) -> Delivery:
        """Flush, and end the thread; later spans are dropped."""
        delivery = self.flush(timeout_s)
        with self._changed:
            self._stop = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        atexit.unregister(self._at_exit)
        return delivery

    def _delivery(self) -> Delivery:
        return Delivery(
            accepted=self._accepted,
            failed=self._failed,
            dropped=self._dropped,
            waiting=len(self._queue) + self._sending,
            error=self._error,
        )

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="trimtab-spans", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter ends: flush reports what waits
            return
        self._thread = thread
        atexit.register(self._at_exit)

    def _at_exit(self) -> None:
        if self._pid == os.getpid():
            delivery = self.close(_EXIT_S)
            lost = delivery.failed + delivery.dropped + delivery.waiting
            if lost:
                _log.warning("%d spans were not delivered: %s", lost, delivery.error or "there was no time")

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            while (batch := self._take()) is not None:
                self._settle(batch, runner.run(self._deliver(batch)))
            runner.run(self._exporter.aclose())

    async def _deliver(self, batch: list[FinishedSpan]) -> int | BaseException:
        # As data: an exporter's fault, whatever it is, must not end the deliveries.
        [outcome] = await asyncio.gather(self._exporter.send(batch), return_exceptions=True)
        return outcome

    def _take(self) -> list[FinishedSpan] | None:
        """Wait for spans that are to be sent; None: it is over."""
        with self._changed:
            pause = min(_BACKOFF_S[0] * 2 ** (self._failures - 1), _BACKOFF_S[1]) if self._error else 0.0
            until = time.monotonic() + (pause or (_GATHER_S if self._accepted else 0.0))
            while not self._stop:
                left = until - time.monotonic()
                ready = len(self._queue) >= _AT_ONCE and not self._error
                if self._queue and (self._hurry or ready or left <= 0):
                    break
                self._changed.wait(left if self._queue and left > 0 else None)
            if self._stop:
                return None
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _AT_ONCE))]
            self._sending = len(batch)
            return batch

    def _settle(self, batch: list[FinishedSpan], outcome: int | BaseException) -> None:
        with self._changed:
            self._sending = 0
            if isinstance(outcome, int):
                self._accepted += outcome
                self._failed += len(batch) - outcome
                self._error, self._failures = "", 0
            else:
                self._error = str(outcome) or type(outcome).__name__
                self._failures += 1
                self._hurry = False  # whoever flushes is told of this one; the next waits its time
                if isinstance(outcome, ApiError) and outcome.retryable:
                    self._queue.extendleft(reversed(batch))
                else:
                    self._failed += len(batch)
            self._changed.notify_all()
