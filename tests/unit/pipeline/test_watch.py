"""Deadlines: the right one fires, with its own error, and a cancellation from outside stays one."""

import asyncio
import socket
import time

import pytest

from trimtab.pipeline.watch import SWEEP_S, Sweeper, Watch
from trimtab.types.errors import ClientGone, FirstByteTimeout, IdleTimeout, TotalTimeout


def first_byte() -> FirstByteTimeout:
    return FirstByteTimeout("nothing came")


def idle() -> IdleTimeout:
    return IdleTimeout("it paused")


async def wait_for(watch: Watch) -> None:
    """Wait until the watch cancels, as a call does."""
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        watch.raise_for()
        raise


def run(main) -> object:
    return asyncio.run(main())


def watched(total_s: float = 10.0, **more) -> tuple[asyncio.AbstractEventLoop, Watch]:
    loop = asyncio.get_running_loop()
    return loop, Watch(loop, total_s, **more)


def test_the_armed_deadline_fires_with_its_own_error_and_not_before():
    async def main():
        loop, watch = watched()
        now = loop.time()
        watch.arm(1.0, first_byte, now)
        watch.look(now + 0.999)
        assert watch.fired is None
        watch.look(now + 1.0)
        with pytest.raises(FirstByteTimeout, match="nothing came"):
            await wait_for(watch)
        assert watch.fired is None, "told once"
        await asyncio.sleep(0)  # the task goes on: it was uncancelled

    run(main)


def test_arming_again_replaces_the_deadline_and_disarming_leaves_the_total():
    async def main():
        loop, watch = watched(total_s=5.0)
        now = loop.time()
        watch.arm(1.0, first_byte, now)
        watch.arm(3.0, idle, now)
        watch.look(now + 2.0)
        assert watch.fired is None
        watch.disarm()
        watch.look(now + 4.0)
        assert watch.fired is None
        watch.look(watch.total())
        with pytest.raises(TotalTimeout, match="5 s"):
            await wait_for(watch)

    run(main)


def test_the_total_deadline_wins_over_the_phases_when_both_have_passed():
    async def main():
        loop, watch = watched(total_s=5.0)
        watch.arm(1.0, first_byte, loop.time())
        watch.look(watch.total())
        assert isinstance(watch.fired, TotalTimeout)
        assert watch.total() == pytest.approx(loop.time() + 5, abs=0.5)
        with pytest.raises(TotalTimeout):
            await wait_for(watch)

    run(main)


def test_a_deadline_fires_once():
    async def main():
        loop, watch = watched()
        now = loop.time()
        watch.arm(1.0, first_byte, now)
        watch.look(now + 2)
        fired = watch.fired
        watch.look(now + 3)
        watch.client_gone()
        assert watch.fired is fired
        assert asyncio.current_task().cancelling() == 1
        with pytest.raises(FirstByteTimeout):
            await wait_for(watch)

    run(main)


def test_growing_progress_puts_the_deadline_off_and_a_stall_does_not():
    async def main():
        loop, watch = watched()
        now = loop.time()
        count = 0
        watch.arm(1.0, idle, now, lambda: count)
        watch.look(now + 0.9)
        assert watch.fired is None, "not due yet"
        count = 10
        watch.look(now + 1.0)
        assert watch.fired is None, "bytes have come"
        watch.look(now + 1.999)
        assert watch.fired is None, "a whole deadline from there"
        watch.look(now + 2.0)
        with pytest.raises(IdleTimeout):
            await wait_for(watch)

    run(main)


def test_pieces_put_the_deadline_off_and_a_client_that_keeps_us_waiting_does_too():
    async def main():
        loop, watch = watched()
        now = loop.time()
        watch.arm(1.0, idle, now)
        watch.steps += 1
        watch.look(now + 1.0)
        assert watch.fired is None, "a piece has come"
        watch.paused = True
        for second in range(2, 8):
            watch.look(now + second)
        assert watch.fired is None, "the provider is not at fault"
        watch.paused = False
        watch.look(now + 7.9)
        assert watch.fired is None, "a whole deadline from there"
        watch.look(now + 8.0)
        with pytest.raises(IdleTimeout):
            await wait_for(watch)

    run(main)


def test_a_client_that_keeps_us_waiting_does_not_put_the_total_off():
    async def main():
        loop, watch = watched(total_s=2.0)
        watch.arm(1.0, idle, loop.time())
        watch.paused = True
        watch.look(watch.total())
        with pytest.raises(TotalTimeout):
            await wait_for(watch)

    run(main)


def test_progress_does_not_put_the_total_off_and_stops_counting_in_the_next_phase():
    async def main():
        loop, watch = watched(total_s=2.0)
        now = loop.time()
        ticks = iter(range(1, 100))
        watch.arm(1.0, idle, now, lambda: next(ticks))
        watch.look(now + 1.0)
        watch.look(watch.total())
        with pytest.raises(TotalTimeout):
            await wait_for(watch)
        loop, other = watched(total_s=9.0)
        other.arm(1.0, idle, now, lambda: next(ticks))
        other.arm(1.0, idle, now)
        other.look(now + 1.0)
        with pytest.raises(IdleTimeout):
            await wait_for(other)

    run(main)


def test_a_client_that_has_gone_ends_the_call_as_such():
    async def main():
        _, watch = watched()
        watch.client_gone()
        with pytest.raises(ClientGone):
            await wait_for(watch)

    run(main)


def test_a_cancellation_from_outside_is_not_taken_for_the_watch():
    async def main():
        _, watch = watched()

        async def inner():
            mine = Watch(asyncio.get_running_loop(), 10)
            await wait_for(mine)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(inner())
            await asyncio.sleep(0)
            task.cancel()
        assert task.cancelled()
        assert watch.cause() is None
        watch.raise_for()

    run(main)


def test_cancelled_from_both_sides_it_stays_cancelled():
    async def main():
        async def inner():
            mine = Watch(asyncio.get_running_loop(), 10)
            mine.client_gone()
            asyncio.current_task().cancel()
            await wait_for(mine)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(inner())
        assert task.cancelled()

    run(main)


def test_old_calls_are_told_of_once_and_young_ones_never():
    async def main():
        old = []
        _, watch = watched(total_s=10.0, on_old=old.append)
        began = watch.total() - 10.0
        watch.look(began + SWEEP_S * 0.9)
        assert old == []
        watch.look(began + SWEEP_S)
        watch.look(began + 1)
        assert old == [watch]

    run(main)


def test_the_sweeper_looks_at_all_it_has_and_rests_when_it_has_none():
    async def main():
        loop = asyncio.get_running_loop()
        sweeper = Sweeper(loop)

        async def call(after_s: float):
            watch = Watch(loop, 10)
            sweeper.add(watch)
            watch.arm(after_s, idle, loop.time())
            began = loop.time()
            try:
                with pytest.raises(IdleTimeout):
                    await wait_for(watch)
            finally:
                sweeper.remove(watch)
            return loop.time() - began

        first = await asyncio.gather(call(0.05), call(0.1))
        assert 0.05 <= first[0] < 0.5
        assert 0.1 <= first[1] < 0.5
        until = loop.time() + 2
        while sweeper._timer is not None:
            assert loop.time() < until, "the sweeper does not rest"
            await asyncio.sleep(0.01)
        again = await call(0.02)  # and wakes up again
        assert 0.02 <= again < 0.5

    run(main)


def test_a_removed_watch_is_not_looked_at():
    async def main():
        loop = asyncio.get_running_loop()
        sweeper = Sweeper(loop)
        watch, other = Watch(loop, 10), Watch(loop, 10)
        watch.arm(0.0, idle, loop.time())
        sweeper.add(watch)
        sweeper.add(other)
        sweeper.remove(watch)
        sweeper.remove(watch)
        await asyncio.sleep(SWEEP_S * 3)
        assert watch.fired is None
        sweeper.remove(other)

    run(main)


def test_what_arrived_while_the_process_stood_still_was_in_time():
    async def main():
        loop = asyncio.get_running_loop()
        sweeper = Sweeper(loop)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            watch = Watch(loop, 10)
            sweeper.add(watch)
            watch.arm(0.2, first_byte, loop.time())
            reading = loop.create_task(loop.sock_recv(ours, 9))
            await asyncio.sleep(SWEEP_S / 5)
            theirs.send(b"in time")
            time.sleep(0.3)
            assert await reading == b"in time"
            assert watch.fired is None
            watch.disarm()
            sweeper.remove(watch)

    run(main)


def test_a_process_that_always_runs_late_keeps_its_deadlines():
    async def main():
        loop = asyncio.get_running_loop()
        sweeper = Sweeper(loop)
        watch = Watch(loop, 10)
        sweeper.add(watch)
        watch.arm(0.1, idle, loop.time())

        async def stand_still() -> None:
            while True:
                time.sleep(SWEEP_S * 3)
                await asyncio.sleep(0)

        busy = loop.create_task(stand_still())
        with pytest.raises(IdleTimeout):
            await wait_for(watch)
        busy.cancel()
        sweeper.remove(watch)

    run(main)
