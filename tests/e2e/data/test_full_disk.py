"""A data disk that is really full: what is promised of calls, of retention, and of what comes after."""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rigs.audit import audit
from rigs.caller import Question, call
from rigs.disk import Ballast, free_bytes
from rigs.house import House, until
from rigs.traffic import Asker, Traffic, answer, usage_of
from trimtab.ledger.join import OPENING_LOST
from trimtab.storage import call_line, read_call_line
from trimtab.testing import FakeServer
from trimtab.testing.calls import sample_call
from trimtab.types import Call

DAY_MS = 86_400_000


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    with FakeServer(script=answer) as server:
        yield server


@pytest.fixture
def furnished(tmp_path: Path, upstream: FakeServer, small_disk: Path) -> Callable[..., House]:
    """An installation whose data folder is the small disk."""

    def make(settings: str = "", workers: int = 2) -> House:
        provider = f"[data]\n{settings}" if settings else ""
        house = House(tmp_path / "house", upstream.base_url, workers=workers, provider=provider)
        house.furnish()
        (house.home / "data").symlink_to(small_disk)
        return house

    return make


def question(number: int) -> Question:
    marker = f"words w{number}x {number}"
    return Question(marker, stream=number % 2 == 0, usage=usage_of(marker))


def fill_days(house: House, days: int, mb_each: float) -> None:
    """Import calls of the days before today; their words do not compress."""
    draw = random.Random(5)
    file = house.home / "old.jsonl"
    with file.open("wb") as lines:
        now_ms = time.time_ns() // 1_000_000
        for day in range(1, days + 1):
            for n in range(int(mb_each * 25)):
                text = draw.randbytes(20_000).hex()
                lines.write(
                    call_line(sample_call(ms=now_ms - day * DAY_MS + n, question=f"old {day} {text} 0"))
                )
    house.run("import", str(file))
    file.unlink()


def days(house: House) -> list[str]:
    return sorted({path.name[6:14] for path in house.data.glob("calls-*.db")})


def disk_of_calls(house: House) -> int:
    return sum(path.stat().st_size for path in house.data.glob("calls-*"))


def stored(house: House) -> list[Call]:
    return [read_call_line(line) for line in house.run("export").encode().splitlines()]


def counters(house: House) -> dict[str, int]:
    return house.admin("/api/v1/health")[1]["counters"]


@pytest.mark.slow
def test_calls_are_refused_clearly_and_nothing_recorded_is_lost(furnished: Callable[..., House]) -> None:
    house = furnished()
    ballast = Ballast(house.data)
    with house:
        with Traffic(house.port, [Asker(question)] * 8) as traffic:
            traffic.wait_for(100)
            ballast.fill()
            until(lambda: [one for one in traffic.seen if one.code == "ledger_unavailable"], "refused")
            full_us = time.time_ns() // 1000
            for name in ("worker-1", "recorder", "control", "worker-2"):
                old = house.ready_pid(name)
                os.kill(old, signal.SIGKILL)
                until(lambda n=name, o=old: house.child(n).pid not in (0, o) or True, "it is started")
            refused = len([one for one in traffic.seen if one.code == "ledger_unavailable"])
            until(
                lambda: len([one for one in traffic.seen if one.code == "ledger_unavailable"]) > refused + 20,
                "calls are answered by those that were started again",
            )
            ballast.remove()
            traffic.wait_for(100)
        refusals = [one for one in traffic.seen if not one.answered and one.began_us > full_us]
        assert {one.status for one in refusals} <= {0, 503, 200}, "200: a stream that had begun"
        assert {one.code for one in refusals if one.status == 503} == {"ledger_unavailable"}
        until(lambda: house.admin("/api/v1/health")[1]["status"] == "ok", "all is well again")
        for one in [one for one in traffic.seen if one.answered][::25]:
            word = one.question.marker.split()[1]
            until(lambda w=word: house.admin(f"/api/v1/calls?text={w}")[1]["calls"], f"{word} is found")
        assert house.stop() == 0
    found = audit(house.data, traffic.seen, [])
    assert not found.problems, found


@pytest.mark.slow
def test_calls_go_on_where_that_was_chosen_and_each_unrecorded_one_is_counted(
    furnished: Callable[..., House],
) -> None:
    house = furnished('on_ledger_failure = "serve"')
    ballast = Ballast(house.data)
    with house:
        with Traffic(house.port, [Asker(question)] * 8) as traffic:
            traffic.wait_for(100)
            ballast.fill()
            until(lambda: counters(house)["unrecorded_opened"] > 50, "calls are served unrecorded")
            ballast.remove()
            traffic.wait_for(100)
        assert not [one for one in traffic.seen if not one.answered]
        counted = counters(house)
        assert house.run("doctor", code=1 if counted["unrecorded_opened"] else 0)
        assert house.stop() == 0
    found = audit(house.data, [], [])
    assert not found.problems, found
    # Of some only the end was recorded, when there was room again: those are rows too, without their opening.
    halves = sum(OPENING_LOST in row.opened.tags for row in stored(house))
    unrecorded = len(traffic.seen) - found.rows
    assert unrecorded + halves == counted["unrecorded_opened"], counted
    assert found.states["unfinished"] <= counted["unrecorded_closed"]


@pytest.mark.slow
def test_a_start_on_a_full_disk_frees_the_oldest_days_first(furnished: Callable[..., House]) -> None:
    """The budget is exceeded and not a byte is free: days go by themselves, and calls are recorded again."""
    house = furnished("disk_gb = 0.004\nretention_days = 5")
    with house:
        assert house.stop() == 0
    fill_days(house, days=7, mb_each=0.6)
    assert len(days(house)) == 7
    ballast = Ballast(house.data)
    ballast.fill()
    assert free_bytes(house.data) == 0
    before = days(house)
    with house:
        left = until(lambda: len(days(house)) < 5 and days(house), "days have gone")
        kept = [day for day in left if day in before]
        assert kept == before[-len(kept) :], "the oldest went first"
        assert kept[-1] == before[-1], "no more went than had to"
        with Traffic(house.port, [Asker(question)] * 4) as traffic:
            traffic.wait_for(300)
        until(lambda: disk_of_calls(house) < 4_000_000 + 1_500_000, "the budget holds", 40)
        assert house.stop() == 0
    found = audit(house.data, [one for one in traffic.seen if one.answered], [])
    assert not found.problems, found


@pytest.mark.slow
def test_the_budget_holds_under_load_while_other_files_take_the_rest(furnished: Callable[..., House]) -> None:
    house = furnished("disk_gb = 0.004")
    with house:
        assert house.stop() == 0
    fill_days(house, days=4, mb_each=0.6)
    ballast = Ballast(house.data)
    with house:
        with Traffic(house.port, [Asker(question)] * 8) as traffic:
            traffic.wait_for(50)
            for _ in range(5):
                ballast.fill()
                time.sleep(1)
                ballast.remove()
                traffic.wait_for(50)
        until(lambda: disk_of_calls(house) < 4_000_000 + 1_500_000, "the budget holds", 40)
        assert house.stop() == 0
    found = audit(house.data, traffic.seen, [])
    assert not found.problems, found


@pytest.mark.slow
def test_nothing_to_free_is_said_clearly(furnished: Callable[..., House]) -> None:
    """A full disk without any room to make: the start goes on or ends with words that say what to do."""
    house = furnished()
    with house:
        assert house.stop() == 0
    ballast = Ballast(house.data)
    ballast.fill()
    house.start()
    assert house.process is not None
    until(lambda: "No space left" in house.log or house.process.poll() is not None, "it is said")
    seen = asyncio.run(call(house.port, question(1)))
    assert not seen.answered
    ballast.remove()
    if house.process.poll() is None:
        house.wait_until_up()
    else:
        assert house.process.poll() == 3
        house.start().wait_until_up()
    with Traffic(house.port, [Asker(question)]) as traffic:
        traffic.wait_for(10)
    assert json.loads(house.run("calls", "--json"))
    assert house.stop() == 0
