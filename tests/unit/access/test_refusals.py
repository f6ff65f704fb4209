"""What is refused again and again is counted exactly, and noted a bounded number of times."""

from hypothesis import given
from hypothesis import strategies as st

from trimtab.access import Refusals
from trimtab.access import refusals as module
from trimtab.testing import FrozenClock


def test_the_first_is_noted_and_the_rest_counted_until_the_window_is_over():
    clock = FrozenClock()
    refusals = Refusals(clock)
    assert [refusals.is_first("a") for _ in range(5)] == [True, False, False, False, False]
    assert refusals.due() == []
    clock.advance(module.WINDOW_S + 1)
    assert refusals.due() == [("a", 4)]
    assert refusals.is_first("a")
    clock.advance(module.WINDOW_S + 1)
    assert refusals.due() == []


def test_more_kinds_than_are_remembered_are_handed_out_early(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    refusals = Refusals(FrozenClock())
    for kind in "aabbccdd":
        refusals.is_first(kind)
    assert refusals.due() == [("a", 1)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400), st.booleans()), max_size=60))
def test_none_is_lost_or_counted_twice(tries):
    clock = FrozenClock()
    refusals = Refusals(clock)
    noted = dict.fromkeys("abc", 0)
    for kind, pause, looked in tries:
        clock.advance(pause)
        for found in [*refusals.due(), *(refusals.running() if looked else [])]:
            noted[found.kind] += found.times
        noted[kind] += refusals.is_first(kind)
    for found in refusals.running():
        noted[found.kind] += found.times
    assert noted == {kind: sum(tried == kind for tried, _, _ in tries) for kind in "abc"}
