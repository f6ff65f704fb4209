"""Which target is asked: by latency and load, past slow and failing ones, fair to new ones."""

import random

import msgspec
import pytest

from rigs.pipeline import fakes
from trimtab.pipeline.health import Board, Budget, Health, ModelPlan, Target, choose, soonest
from trimtab.pipeline.health.latency import Latency
from trimtab.types import Breaker as Rules
from trimtab.types import Deadlines, ProviderUnavailable, RateLimited, TargetSpec


def targets(n: int) -> list[Target]:
    board = Board()
    return [
        Target(
            provider,
            TargetSpec(provider=provider.name, model="m"),
            Deadlines(),
            Health(f"{provider.name}/m", Rules(), board),
        )
        for provider in fakes(*(f"p{at}" for at in range(n)))
    ]


def took(target: Target, seconds: float, now: float = 0.0, times: int = 1) -> None:
    for _ in range(times):
        target.health.lanes[False].took(seconds, now)


def test_the_least_busy_target_is_picked_and_the_first_of_equals():
    first, second, third = given = targets(3)
    assert choose(given, 0.0) == (first, False)
    first.in_flight, second.in_flight, third.in_flight = 2, 1, 1
    assert choose(given, 0.0) == (second, False)
    assert choose(given, 0.0, {id(second)}) == (third, False)
    assert choose(given, 0.0, {id(t) for t in given}) is None


def test_a_faster_target_takes_more_than_a_slower_one():
    fast, slow = given = targets(2)
    took(fast, 0.1)
    took(slow, 1.0)
    for busy, expected in ((0, fast), (8, fast), (10, slow)):
        fast.in_flight = busy
        assert choose(given, 0.0) == (expected, False)


def test_a_new_target_starts_as_one_of_the_others():
    old, new = given = targets(2)
    took(old, 0.5)
    old.in_flight = 1
    assert choose(given, 0.0) == (new, False)
    new.in_flight = 2
    assert choose(given, 0.0) == (old, False), "it is not flooded before its first answer"


def test_a_slow_target_meets_less_than_one_call_in_a_hundred():
    clock, pick = 0.0, random.Random(7)
    fast, slow = given = targets(2)
    speeds = {id(fast): 0.05, id(slow): 1.0}
    open_calls: list[tuple[float, Target, float]] = []
    met, calls = 0, 6000
    for _ in range(calls):
        clock += pick.expovariate(50)
        for call in sorted(c for c in open_calls if c[0] <= clock):
            open_calls.remove(call)
            call[1].in_flight -= 1
            took(call[1], call[2], call[0])
        target, _ = choose(given, clock)
        met += target is slow
        target.in_flight += 1
        seconds = speeds[id(target)] * pick.uniform(0.8, 1.2)
        open_calls.append((clock + seconds, target, seconds))
    assert met < calls / 100


def test_one_that_has_failed_comes_after_the_others_for_a_second_or_as_long_as_it_asked():
    first, second = given = targets(2)
    second.in_flight = 50
    first.health.note_error(ProviderUnavailable("503"), 100.0, 1)
    assert choose(given, 100.5) == (second, False)
    assert choose(given, 101.1) == (first, False)
    first.health.note_error(RateLimited("429", retry_after_s=7.0), 200.0, 1)
    assert choose(given, 206.0) == (second, False)
    assert choose(given, 207.1) == (first, False)
    assert (first.health.failed, first.health.last_error) == (2, "rate_limited")


def test_an_open_target_is_left_alone_and_then_probed_first():
    good, bad = given = targets(2)
    for _ in range(5):
        bad.health.breaker.bad(0.0, 0.0)
    good.in_flight = 100
    assert choose(given, 0.5) == (good, False)
    assert choose(given, 1.1) == (bad, True)
    assert choose(given, 1.2) == (good, False), "one call probes, not all"
    for _ in range(5):
        good.health.breaker.bad(1.2, 1.2)
    assert choose(given, 1.3) is None
    assert soonest(given, 1.3) is good
    plan = ModelPlan("m", given, Budget(0.1, 1.0, 0.0))
    assert plan.pick(1.3) is None
    assert plan.well(1.3) is None
    assert 0 < plan.opens_in(1.3) <= 1


def test_of_many_the_better_of_two_is_taken(monkeypatch):
    given = targets(10)
    given[3].in_flight = 1
    monkeypatch.setattr(random, "sample", lambda found, n: [given[3], given[5]])
    assert choose(given, 0.0) == (given[5], False)


# --- latency ------------------------------------------------------------------------------------------------


def test_the_average_jumps_up_and_falls_slowly():
    it = Latency()
    it.took(0.1, 0.0)
    it.took(1.0, 0.0)
    assert it.ewma_s(0.0) == 1.0
    it.took(0.1, 20.0)
    assert it.ewma_s(20.0) == pytest.approx(0.1 + 0.9 / 2.718, rel=0.01)
    it.late(2.0, 20.0)
    assert it.ewma_s(20.0) == 2.0
    it.settle(0.2, 20.0)
    assert it.ewma_s(20.0) == 0.2


def test_slow_is_five_times_the_usual_once_that_is_known_and_a_new_pace_becomes_usual():
    it = Latency()
    it.obey(5.0, 0.0)
    for n in range(200):
        assert it.slow_s == float("inf") or n >= 16
        it.took(0.1 if n % 10 else 0.8, float(n))
    assert 0.4 < it.slow_s < 0.7
    for n in range(300):
        it.took(1.0, 200.0 + n)
    assert it.slow_s > 2.0
    it.obey(0.0, 0.0)
    assert it.slow_s == float("inf")
    it.obey(5.0, 0.7)
    assert it.slow_s == 0.7


def test_quantiles_are_of_the_last_answers():
    it = Latency()
    assert it.quantile_s(0.9) == float("inf")
    for n in range(100):
        it.took(n / 100, 0.0)
    assert it.quantile_s(0.95) == pytest.approx(0.95, abs=0.06)
    assert it.percentile(0.5) == 0.5


# --- budgets ------------------------------------------------------------------------------------------------


def test_extra_requests_are_a_share_of_calls_and_a_few_free_ones():
    budget = Budget(0.1, 1.0, 0.0)
    assert sum(budget.take(0.0) for _ in range(100)) == 10
    spent = 0
    for _ in range(1000):
        budget.pay_in()
        spent += budget.take(0.0)
    assert 98 <= spent <= 101
    assert sum(budget.take(5.0) for _ in range(100)) == 5
    for _ in range(10_000):
        budget.pay_in()
    assert sum(budget.take(5.0) for _ in range(100)) <= 21, "peace does not save up for a storm"


def test_what_is_told_of_a_target_is_what_was_seen():
    [it] = targets(1)
    took(it, 0.2, times=20)
    it.health.calls, it.in_flight = 20, 3
    seen = it.seen(0.0)
    assert (seen.target, seen.breaker, seen.calls, seen.in_flight) == ("p0/m", "closed", 20, 3)
    assert (seen.p50_ms, seen.p95_ms, seen.ewma_ms) == (200.0, 200.0, 200.0)
    assert msgspec.json.decode(msgspec.json.encode(seen))["bad_share"] == 0.0
