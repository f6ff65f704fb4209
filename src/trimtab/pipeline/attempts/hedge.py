"""A second request beside a late first one: whichever answers first wins, and the other one's socket is closed.

Source: J. Dean, L. A. Barroso, "The Tail at Scale", CACM 56(2), 2013: hedged requests.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from trimtab.pipeline.health import Target
from trimtab.pipeline.watch import Watch

from .attempt import Try

if TYPE_CHECKING:
    from .walk import Attempts

_NEVER_S = 86_400.0
"""The total deadline of one attempt of several: the call's own watch sees to it."""


async def race(
    call: "Attempts",
    first: Try,
    after_s: float,
    second: Callable[[], tuple[Target, str] | None],
) -> Try:
    """Ask one target, after a while a second one too, and return the attempt that answered first.

    Args:
        call: whose attempts they are.
        first: the attempt to begin with.
        after_s: seconds to wait before the second request.
        second: asked then; None: there is no second request.

    Raises:
        ProviderError: none of them answered; the last one's error.
        ClientGone: the client went away.
    """
    call.watch.disarm()
    running: dict[asyncio.Task[None], Try] = {}

    def start(attempt: Try) -> None:
        # Kept, awaited and cancelled below: it cannot be lost.
        running[call.loop.create_task(_run(call, attempt))] = attempt

    start(first)
    try:
        await asyncio.wait(running, timeout=after_s)
        if not any(task.done() for task in running) and (other := second()) is not None:
            start(Try(call, *other))
        return await _first_of(running)
    except asyncio.CancelledError:
        cause = call.watch.cause()
        if cause is None:
            raise
        for attempt in running.values():
            attempt.ended_by = cause
        try:
            raise cause from None
        finally:
            cause = None  # what is raised holds this frame, which must not hold it
    finally:
        await _end(running)


async def _first_of(running: dict[asyncio.Task[None], Try]) -> Try:
    error: BaseException | None = None
    try:
        while running:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task.done()]:
                attempt = running.pop(task)
                error = task.exception()
                del task  # it keeps the error
                if error is None:
                    for loser in running.values():
                        loser.lost = True
                    return attempt
        assert error is not None, "there was at least one"
        raise error
    finally:
        error = None  # what is raised holds this frame, which must not hold it


async def _end(running: dict[asyncio.Task[None], Try]) -> None:
    """Cancel what still runs, and wait until its sockets are closed."""
    for task in running:
        task.cancel()
    for task, attempt in running.items():
        await asyncio.wait((task,))
        attempt.ended_by = None
        if not task.cancelled() and task.exception() is None:
            await attempt.give_up()
    running.clear()


async def _run(call: "Attempts", attempt: Try) -> None:
    """Run an attempt in a task of its own, under deadlines of its own."""
    watch = Watch(call.loop, _NEVER_S)
    attempt.watched_by(watch)
    call.sweeper.add(watch)
    try:
        await attempt.run()
    finally:
        call.sweeper.remove(watch)
