"""A wall clock that is set while things run: no call is deleted by it before it has stood so for an hour."""

import pytest

from trimtab.ledger import Recorder
from trimtab.storage import CallQuery
from trimtab.storage.sqlite import open_call_store
from trimtab.testing import FrozenClock
from trimtab.testing.calls import NOON_MS, sample_call
from trimtab.types import Policy

DAY_MS = 86_400_000
HOUR_US = 3_600_000_000


@pytest.fixture
def clock():
    return FrozenClock(NOON_MS * 1000)


@pytest.fixture
def store(tmp_path):
    store = open_call_store(tmp_path / "calls")
    store.insert([sample_call(ms=NOON_MS - i * DAY_MS) for i in range(10)])
    yield store
    store.close()


def kept(store) -> int:
    return len(store.find(CallQuery(limit=100)))


@pytest.mark.parametrize("jump_us", [12 * HOUR_US, 24 * HOUR_US, 10_000 * 24 * HOUR_US])
def test_a_clock_that_is_wrong_for_a_while_deletes_nothing(tmp_path, store, clock, jump_us) -> None:
    policy = Policy(retention_days=9, disk_gb=0.000001, project_retention={"default": 9})
    with Recorder(tmp_path / "log", store, clock=clock, policy=lambda: policy) as recorder:
        recorder.step()
        before = kept(store)
        assert before
        clock.set_now_us(clock.now_us() + jump_us)
        for _ in range(5):
            clock.advance(600)
            recorder.step()
            assert kept(store) == before
        clock.set_now_us(clock.now_us() - jump_us)
        for _ in range(10):
            clock.advance(600)
            recorder.step()
        assert kept(store) == before


def test_a_clock_that_was_set_for_good_is_obeyed_after_an_hour(tmp_path, store, clock) -> None:
    policy = Policy(retention_days=9)
    with Recorder(tmp_path / "log", store, clock=clock, policy=lambda: policy) as recorder:
        recorder.step()
        clock.set_now_us(clock.now_us() + 5 * DAY_MS * 1000)
        recorder.step()
        clock.advance(3590)
        recorder.step()
        assert kept(store) == 10
        clock.advance(20)
        recorder.step()
        assert kept(store) == 5
