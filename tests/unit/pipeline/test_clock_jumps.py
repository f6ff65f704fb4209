"""A wall clock that is set while calls run: they end after they began, ids stay unique, deadlines hold."""

import asyncio
import itertools
import time

import pytest

from rigs.pipeline import Desk, Events, done
from trimtab.types import IdSource
from trimtab.types.errors import TrimtabError

HOUR_US = 3_600_000_000


@pytest.mark.parametrize("jump_us", [-HOUR_US, HOUR_US, -50 * 365 * 24 * HOUR_US])
def test_a_call_takes_as_long_as_it_took_whatever_the_clock_says(jump_us: int) -> None:
    desk = Desk(Events(turns=[done()], before_head_s=0.05))

    async def main() -> None:
        asyncio.get_running_loop().call_later(
            0.02, lambda: desk.clock.set_now_us(desk.clock.now_us() + jump_us)
        )
        await desk.whole()

    asyncio.run(main())
    [opened] = desk.opened
    took_us = desk.closed.closed_us - opened.opened_us
    assert 50_000 <= took_us < 30_000_000
    [(_, _, ms)] = desk.counts.finished
    assert round(ms * 1000) == took_us


@pytest.mark.parametrize("jump_us", [-HOUR_US, HOUR_US])
def test_deadlines_do_not_know_of_the_wall_clock(jump_us: int) -> None:
    desk = Desk(Events(turns=[done()], before_head_s=60))

    async def main() -> None:
        asyncio.get_running_loop().call_later(
            0.02, lambda: desk.clock.set_now_us(desk.clock.now_us() + jump_us)
        )
        with pytest.raises(TrimtabError):
            await desk.whole()

    asyncio.run(main())
    [opened] = desk.opened
    assert desk.closed.error_code == "first_byte_timeout"
    assert 1_000_000 <= desk.closed.closed_us - opened.opened_us < 30_000_000


def test_ids_are_unique_though_the_clock_says_the_same_time_twice(monkeypatch) -> None:
    at = [1_790_000_000_000_000_000]
    monkeypatch.setattr(time, "time_ns", lambda: at[0])
    source, seen = IdSource(), []
    for n in range(20_000):
        at[0] += -HOUR_US * 1000 if n % 1000 == 999 else 3_600_000_000
        seen.append(source.next())
    assert len(set(seen)) == len(seen)
    # Between two settings of the clock, the order of ids is the order of time.
    assert all(a[:13] <= b[:13] for a, b in itertools.pairwise(seen[:999]))
