"""Calls refused before any work is done for them: too many at once, or a process that runs late."""

import asyncio
import time

import msgspec
import pytest

from rigs.pipeline import QUICK, Desk, Events, done
from trimtab.pipeline.watch import SWEEP_S, Sweeper, Watch
from trimtab.types import Resilience
from trimtab.types.errors import Overloaded


def desk(takes_s: float = 0.2, **rules) -> Desk:
    policy = msgspec.structs.replace(QUICK, resilience=Resilience(**rules))
    return Desk(Events(turns=[[takes_s, done()]]), policy=policy)


def test_a_worker_holds_so_many_calls_and_no_more():
    it = desk(max_in_flight=3)

    async def main():
        it.core.shed()
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                it.core.shed()
                group.create_task(it.whole())
                await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="max_in_flight is 3") as refused:
                it.core.shed()
            assert refused.value.retry_after_s == 1.0
        it.core.shed()

    asyncio.run(main())
    assert it.counts.by_name["shed"] == 1
    assert it.counts.by_name["opened"] == 3


def test_no_bound_is_no_bound():
    it = desk(max_in_flight=0, max_lag_s=0)

    async def main():
        it.core.sweeper().lag_s = 9.0
        it.core.sweeper().watches.update(range(100_000))
        it.core.shed()

    asyncio.run(main())


def test_a_process_that_runs_late_again_and_again_refuses_and_recovers():
    it = desk(0.9, max_lag_s=0.05)

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(it.whole())
            await asyncio.sleep(0)
            sweeper = it.core.sweeper()
            for late in range(3):
                it.core.shed()
                assert sweeper.lag_s <= 0.05, late
                time.sleep(0.15)
                await asyncio.sleep(0.01)
            with pytest.raises(Overloaded, match="late"):
                it.core.shed()
            while sweeper.lag_s > 0.05:
                await asyncio.sleep(SWEEP_S)
            it.core.shed()

    asyncio.run(main())


def test_an_earlier_deadline_stands_in_for_the_total_one_until_it_is_lifted():
    async def main():
        loop = asyncio.get_running_loop()
        sweeper, watch = Sweeper(loop), Watch(loop, 5.0)
        sweeper.add(watch)
        watch.hurry(loop.time() + 0.05, lambda: Overloaded("hurried"))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(3)
        assert str(watch.cause()) == "hurried"
        before = watch.total()
        watch.relax()
        assert watch.total() > before + 4
        await asyncio.sleep(0.1)
        sweeper.remove(watch)

    asyncio.run(main())
