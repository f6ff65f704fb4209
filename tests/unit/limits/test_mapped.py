"""The mapped file in trouble: lost, damaged, torn, full, and under clocks that jump."""

import asyncio
import json
from pathlib import Path

import pytest

from trimtab.limits import Demand, MappedLimiter, RuleBook, period_of
from trimtab.limits.mapped import layout, state
from trimtab.limits.mapped.events import read_events
from trimtab.testing import FrozenClock
from trimtab.testing.limiters import claims, refused, seeded
from trimtab.types import BudgetExceeded, BudgetSpec, LimitSpec, RateLimitExceeded, StorageError

DAY = BudgetSpec(name="day", amount_nusd=1000, period="day", wait_s=0.02)


def cost(nusd: int) -> Demand:
    return Demand(bound_nusd=nusd, strict_nusd=nusd)


def ask(limiter: MappedLimiter, book: RuleBook, demand: Demand, **who: str) -> object:
    return asyncio.run(refused(limiter, claims(book, **who), demand))


def spent(limiter: MappedLimiter, book: RuleBook) -> list[int]:
    return [use.spent_nusd for use in limiter.uses(book.budgets)]


def test_what_is_spent_outlives_every_process(tmp_path: Path) -> None:
    clock = FrozenClock()
    first = MappedLimiter(tmp_path, clock=clock)
    book = seeded(first, RuleBook([], [DAY]))
    assert ask(first, book, cost(600)) is None
    asyncio.run(first.admit(claims(book), cost(300)))  # and never settles
    first.close()
    second = MappedLimiter(tmp_path, clock=clock)
    second.check()
    assert spent(second, book) == [900], "what was held by the dead counts as spent"
    assert ask(second, book, cost(100)) is None
    assert isinstance(ask(second, book, cost(1)), BudgetExceeded)
    second.close()


def test_a_lost_file_lets_nobody_in_before_the_ledger_was_asked(tmp_path: Path) -> None:
    limiter = MappedLimiter(tmp_path, clock=FrozenClock())
    book = seeded(limiter, RuleBook([], [DAY]))
    grant = asyncio.run(limiter.admit(claims(book), cost(100)))
    (tmp_path / "state").unlink()
    limiter.check()
    assert limiter.unseeded(book.budgets) == list(book.budgets)
    assert isinstance(ask(limiter, book, cost(1)), BudgetExceeded)
    limiter.settle(grant, 0, 70)
    limiter.flush()
    assert spent(limiter, book) == [70], "a call that was under way is charged where spending is counted now"
    seeded(limiter, book, **{"": 950})
    assert isinstance(ask(limiter, book, cost(100)), BudgetExceeded | None)
    assert spent(limiter, book)[0] >= 950
    limiter.close()


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"x" * layout.FILE_BYTES])
def test_a_damaged_file_is_put_aside(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "state").write_bytes(damage)
    limiter = MappedLimiter(tmp_path, clock=FrozenClock())
    book = RuleBook([], [DAY])
    assert limiter.unseeded(book.budgets) == list(book.budgets)
    assert (tmp_path / "state.damaged").read_bytes() == damage
    limiter.close()


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    MappedLimiter(tmp_path, clock=FrozenClock()).unseeded([])
    content = bytearray((tmp_path / "state").read_bytes())
    content[8] = 9
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(StorageError, match="format 9"):
        MappedLimiter(tmp_path, clock=FrozenClock()).unseeded([])


def test_after_another_boot_buckets_are_full_and_spending_is_doubted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FrozenClock(monotonic_s=1e6)
    first = MappedLimiter(tmp_path, clock=clock)
    book = RuleBook([LimitSpec(name="one", requests_per_minute=1, concurrency=1)], [DAY])
    seeded(first, book)
    asyncio.run(first.admit(claims(book), cost(400)))
    assert isinstance(ask(first, book, cost(1)), RateLimitExceeded)
    monkeypatch.setattr(state, "_boot", lambda: 12345)
    second = MappedLimiter(tmp_path, clock=FrozenClock(clock.now_us() - 3_600_000_000, 5.0))
    assert second.unseeded(book.budgets) == list(book.budgets)
    assert spent(second, book) == [400]
    assert second.now_us() >= clock.now_us(), "time does not go back because a machine has no battery"
    seeded(second, book)
    assert ask(second, book, cost(600)) is None
    second.close()


def test_a_clock_that_jumps_frees_no_budget_and_locks_nobody_out(tmp_path: Path) -> None:
    clock = FrozenClock()
    limiter = MappedLimiter(tmp_path, clock=clock)
    book = seeded(limiter, RuleBook([LimitSpec(name="r", requests_per_minute=60, burst_s=0)], [DAY]))
    right = clock.now_us()
    assert ask(limiter, book, cost(1000)) is None
    for wrong in (right + 30 * 86_400_000_000, right - 30 * 86_400_000_000, 0):
        clock.set_now_us(wrong)
        limiter.check()
        clock.advance(2)
        limiter.check()
        assert isinstance(ask(limiter, book, cost(10)), BudgetExceeded), "the day is the same"
        clock.set_now_us(right + round(2e6))
        limiter.check()
    clock.advance(1)
    other = RuleBook([LimitSpec(name="r", requests_per_minute=60, burst_s=0)], [])
    assert ask(limiter, other, Demand()) is None, "rates go by the time that never jumps"
    clock.set_now_us(right + 86_400_000_000)
    for _ in range(62):
        limiter.check()
        clock.advance(10)
    assert ask(limiter, book, cost(10)) is None, "a jump that lasts ten minutes is believed"
    limiter.check()
    limiter.close()


def test_a_clock_that_comes_back_finds_what_was_spent(tmp_path: Path) -> None:
    clock = FrozenClock()
    limiter = MappedLimiter(tmp_path, clock=clock)
    book = seeded(limiter, RuleBook([], [DAY]))
    assert ask(limiter, book, cost(1000)) is None
    clock.advance(86_400)
    limiter.check()
    assert ask(limiter, book, cost(10)) is None
    clock.set_now_us(clock.now_us() - 86_400_000_000)
    for _ in range(62):
        limiter.check()
        clock.advance(10)
    assert isinstance(ask(limiter, book, cost(10)), BudgetExceeded)
    limiter.close()


def test_a_full_table_counts_the_rest_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PROBES", 0)
    counted: list[str] = []
    limiter = MappedLimiter(tmp_path, clock=FrozenClock(), count=counted.append)
    spec = BudgetSpec(name="each", amount_nusd=1000, per="user", period="day", wait_s=0.02)
    book = seeded(limiter, RuleBook([], [spec]))
    assert ask(limiter, book, cost(600), user="a") is None
    assert isinstance(ask(limiter, book, cost(600), user="b"), BudgetExceeded | None)
    assert isinstance(ask(limiter, book, cost(600), user="c"), BudgetExceeded)
    assert "limits_crowded" in counted
    assert limiter.crowded() >= 2
    limiter.close()


def test_places_of_accounts_that_are_over_are_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FrozenClock()
    monkeypatch.setattr(state, "_places", lambda _key: range(layout.AT_CELLS, layout.AT_CELLS + 64, 16))
    limiter = MappedLimiter(tmp_path, clock=clock)
    book = RuleBook([LimitSpec(name="u", per="user", requests_per_minute=60)], [])
    for i in range(12):
        assert ask(limiter, book, Demand(), user=f"u{i}") is None
        clock.advance(2)
    assert limiter.crowded() == 0
    limiter.close()


def test_alerts_are_noted_once_a_period_and_for_live_calls_only(tmp_path: Path) -> None:
    clock = FrozenClock()
    counted: list[str] = []
    limiter = MappedLimiter(tmp_path, clock=clock, count=counted.append)
    spec = BudgetSpec(name="soft", amount_nusd=1000, hard=False, period="day", alert_at=(0.5, 1.0))
    book = seeded(limiter, RuleBook([], [spec]))

    def call(nusd: int, alarm: bool = True) -> None:
        grant = asyncio.run(limiter.admit(claims(book), cost(nusd)))
        limiter.settle(grant, 0, nusd, alarm=alarm)
        limiter.flush()

    call(600, alarm=False)
    assert read_events(tmp_path) == []
    call(10)
    call(10)
    call(5000)
    clock.advance(86_400)
    call(700)
    found = read_events(tmp_path)
    assert [event["share"] for event in found] == [0.5, 1.0, 0.5]
    assert found[0]["budget"] == "soft"
    assert counted.count("budget_alerts") == 3
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0]) == found[0]
    limiter.close()


def test_a_call_of_many_rules_is_held_in_several_records(tmp_path: Path) -> None:
    limiter = MappedLimiter(tmp_path, clock=FrozenClock())
    specs = [BudgetSpec(name=f"b{i}", amount_nusd=1000, period="total") for i in range(20)]
    book = seeded(limiter, RuleBook([], specs))
    grant = asyncio.run(limiter.admit(claims(book), cost(100)))
    assert {use.reserved_nusd for use in limiter.uses(book.budgets)} == {100}
    with limiter.state as held:
        held.mend()
    assert {use.reserved_nusd for use in limiter.uses(book.budgets)} == {100}, "records say what is held"
    limiter.settle(grant, 0, 40)
    assert {use.spent_nusd for use in limiter.uses(book.budgets)} == {40}
    limiter.close()


def test_numbers_beyond_reason_break_nothing(tmp_path: Path) -> None:
    limiter = MappedLimiter(tmp_path, clock=FrozenClock())
    book = seeded(
        limiter,
        RuleBook([LimitSpec(name="t", tokens_per_minute=1)], [BudgetSpec(name="b", amount_nusd=10**18)]),
    )
    huge = Demand(tokens=10**9, bound_nusd=10**17, strict_nusd=10**17)
    assert ask(limiter, book, huge) is None
    assert isinstance(ask(limiter, book, huge), RateLimitExceeded)
    limiter.close()


def test_the_file_is_made_on_need_and_for_its_user_alone(tmp_path: Path) -> None:
    limiter = MappedLimiter(tmp_path / "limits", clock=FrozenClock())
    limiter.check()
    limiter.close()
    assert not (tmp_path / "limits").exists()
    limiter.unseeded([])
    path = tmp_path / "limits" / "state"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 >= layout.FILE_BYTES, "a full disk must not fail a mapping later"
    assert [entry.name for entry in path.parent.iterdir()] == ["state"]
    limiter.close()


def test_seeding_counts_the_present_period(tmp_path: Path) -> None:
    clock = FrozenClock()
    limiter = MappedLimiter(tmp_path, clock=clock)
    book = RuleBook([], [DAY])
    start, end = period_of("day", clock.now_us())
    limiter.seed(book.budgets[0], {"": 990}, start, end)
    assert isinstance(ask(limiter, book, cost(5)), BudgetExceeded | None)
    assert spent(limiter, book)[0] >= 990
    limiter.close()
