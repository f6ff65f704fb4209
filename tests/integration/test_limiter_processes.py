"""The mapped file between real processes: races, and kill -9 at every instruction of the critical section."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs import limit_racer
from trimtab.limits import Demand, MappedLimiter
from trimtab.limits.mapped.layout import Header
from trimtab.testing.limiters import claims, seeded

_RIG = Path(limit_racer.__file__)
_LIMIT_S = 60


def start(folder: Path, what: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(_RIG), str(folder), what, str(count)], stdout=subprocess.PIPE
    )


def lines(racers: list[subprocess.Popen[bytes]]) -> list[list[str]]:
    return [racer.communicate(timeout=_LIMIT_S)[0].decode().splitlines() for racer in racers]


@pytest.fixture
def limiter(tmp_path: Path) -> Iterator[MappedLimiter]:
    limiter = MappedLimiter(tmp_path)
    yield limiter
    limiter.close()


def test_four_processes_let_in_exactly_what_a_budget_fits(tmp_path: Path, limiter: MappedLimiter) -> None:
    rules = seeded(limiter, limit_racer.book("budget"))
    said = lines([start(tmp_path, "budget", 10) for _ in range(4)])
    assert sum(line.startswith("in") for lines_ in said for line in lines_) == 100
    [use] = limiter.uses(rules.budgets)
    assert (use.spent_nusd, use.reserved_nusd, use.under_way) == (100_000, 0, 0)


def test_a_process_that_is_killed_leaves_what_it_held_as_spent(
    tmp_path: Path, limiter: MappedLimiter
) -> None:
    rules = seeded(limiter, limit_racer.book("budget"))
    racers = [start(tmp_path, "budget", 10) for _ in range(4)]
    assert racers[0].stdout is not None
    for _ in range(7):
        racers[0].stdout.readline()
    racers[0].kill()
    said = lines(racers)
    let_in = 7 + sum(line.startswith("in") for lines_ in said for line in lines_)
    limiter.check()
    [use] = limiter.uses(rules.budgets)
    assert (use.spent_nusd, use.reserved_nusd) == (100_000, 0)
    assert let_in <= 107, "seven lines read, of both kinds"
    assert limiter.state.numbers[Header.LEFT] >= 0


def test_never_more_at_once_than_a_limit_allows(tmp_path: Path, limiter: MappedLimiter) -> None:
    rules = limit_racer.book("at-once")
    limiter.unseeded([])
    # One pipe for all: what stands in it stands in order.
    read, write = os.pipe()
    racers = [
        subprocess.Popen([sys.executable, str(_RIG), str(tmp_path), "at-once", "40"], stdout=write)
        for _ in range(4)
    ]
    os.close(write)
    with os.fdopen(read) as pipe:
        inside = most = seen = 0
        for line in pipe:
            inside += 1 if line.startswith("in") else -1
            most, seen = max(most, inside), seen + 1
    for racer in racers:
        assert racer.wait(_LIMIT_S) == 0
    assert 1 < most <= 7
    assert seen > 100
    [use] = limiter.uses(rules.limits)
    assert use.under_way == 0


class _Mortal:
    """Numbers of the file that kill their process before the n-th is written."""

    def __init__(self, numbers: memoryview, left: int) -> None:
        self._numbers = numbers
        self._left = left

    def __getitem__(self, at: int) -> int:
        return self._numbers[at]

    def __setitem__(self, at: int, value: int) -> None:
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
        self._numbers[at] = value

    def release(self) -> None:
        self._numbers.release()


def die_after(folder: Path, writes: int, what: str) -> bool:
    """Make two calls in a child that dies at one write; return whether it did."""
    child = os.fork()
    if child == 0:
        limiter = MappedLimiter(folder)
        rules = limit_racer.book("budget")
        first = asyncio.run(limiter.admit(claims(rules), Demand(0, 1000, 1000)))
        limiter.state.numbers = _Mortal(limiter.state.numbers, writes)  # type: ignore[assignment]
        if what == "admit":
            asyncio.run(limiter.admit(claims(rules), Demand(0, 500, 500)))
        else:
            limiter.settle(first, 0, 400 if what == "less" else 1700)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(("what", "least"), [("admit", 1000), ("less", 400), ("more", 1000)])
def test_whoever_dies_in_the_critical_section_has_counted_enough(
    tmp_path: Path, what: str, least: int
) -> None:
    for writes in range(200):
        folder = tmp_path / str(writes)
        limiter = MappedLimiter(folder)
        rules = seeded(limiter, limit_racer.book("budget"))
        died = die_after(folder, writes, what)
        grant = asyncio.run(limiter.admit(claims(rules), Demand(0, 10, 10)))  # meets what is torn
        limiter.settle(grant, 0, 10)
        limiter.check()
        [use] = limiter.uses(rules.budgets)
        assert use.spent_nusd - 10 >= least, f"after {writes} writes"
        assert use.spent_nusd - 10 <= 1700
        assert (use.reserved_nusd, use.under_way) == (0, 0), f"after {writes} writes"
        limiter.close()
        if not died:
            break
        (folder / "state").unlink()
    else:
        raise AssertionError("it never came to the end")
    assert writes > 5


@pytest.mark.slow
def test_a_rate_holds_within_one_percent_over_a_minute(tmp_path: Path, limiter: MappedLimiter) -> None:
    limiter.unseeded([])
    # 16 clients in each of 4 processes ask all the time, for longer than a minute.
    racers = [start(tmp_path, "rate", 100_000) for _ in range(4)]
    try:
        import time

        times: list[float] = []
        import selectors

        selector = selectors.DefaultSelector()
        for racer in racers:
            assert racer.stdout is not None
            os.set_blocking(racer.stdout.fileno(), False)
            selector.register(racer.stdout, selectors.EVENT_READ)
        begin = 0.0
        while not begin or time.monotonic() - begin < 62:
            for key, _ in selector.select(0.1):
                count = os.read(key.fd, 1 << 16).count(b"in ")
                begin = begin or time.monotonic()
                times += [time.monotonic()] * count
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    within = sum(1 for at in times if begin + 1 <= at < begin + 61)
    assert abs(within - 6000) <= 60, f"{within} of 6000"
