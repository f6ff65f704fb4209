"""The frozen clock."""

import pytest

from trimtab.testing import FrozenClock
from trimtab.types import Clock


def test_it_moves_only_when_told_and_both_times_together():
    clock: Clock = FrozenClock(now_us=5, monotonic_s=1.0)
    assert (clock.now_us(), clock.monotonic()) == (5, 1.0)
    clock.advance(0.25)
    assert (clock.now_us(), clock.monotonic()) == (250_005, 1.25)


def test_monotonic_time_never_goes_back():
    clock = FrozenClock()
    before = clock.monotonic()
    with pytest.raises(ValueError, match="expected 0 or more"):
        clock.advance(-1)
    clock.set_now_us(0)
    assert (clock.now_us(), clock.monotonic()) == (0, before)
