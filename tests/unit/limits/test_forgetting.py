"""Whom an erasure names is in no account, no bucket and no event afterwards, and nobody else has lost anything."""

import asyncio
from pathlib import Path

from trimtab.limits import Demand, MappedLimiter, RuleBook, forget
from trimtab.limits.mapped.events import read_events
from trimtab.testing import FrozenClock
from trimtab.testing.limiters import seeded
from trimtab.types import BudgetSpec, LimitSpec

ZOE = "zoe-" + "z" * 80
"""Longer than a cell has room for."""
BOOK = (
    [LimitSpec(name="calls", per="user", requests_per_minute=60, concurrency=9)],
    [
        BudgetSpec(name="each", per="user", amount_nusd=1000, alert_at=(0.1,)),
        BudgetSpec(name="by-project", per="project", amount_nusd=9000, alert_at=(0.01,)),
    ],
)


def spend(limiter: MappedLimiter, book: RuleBook, nusd: int, **who: str) -> None:
    grant = asyncio.run(
        limiter.admit(
            book.claims("", who.get("project", ""), "", "", who["user"]),
            Demand(bound_nusd=nusd, strict_nusd=nusd),
        )
    )
    limiter.settle(grant, 1, nusd)
    limiter.flush()


def forget_user(folder: Path, book: RuleBook, user: str, clock: FrozenClock) -> int:
    others = [rule for rule in (*book.limits, *book.budgets) if rule.spec.per != "user"]
    return forget(
        folder,
        user,
        spare={rule.ident for rule in others},
        names={rule.name for rule in others},
        clock=clock,
    )


def known(limiter: MappedLimiter, book: RuleBook) -> dict[tuple[str, str], int]:
    return {(use.rule, use.subject): use.spent_nusd for use in limiter.uses([*book.limits, *book.budgets])}


def holding(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in folder.iterdir() if text in path.read_bytes()]


def test_a_user_is_forgotten_and_nobody_else(tmp_path: Path) -> None:
    clock = FrozenClock()
    limiter = MappedLimiter(tmp_path, clock=clock)
    book = seeded(limiter, RuleBook(*BOOK))
    for user in (ZOE, ZOE + "2", "web"):
        spend(limiter, book, 300, user=user, project="web")
    (tmp_path / "state.damaged").write_bytes(b"zoe")
    before = known(limiter, book)
    assert holding(tmp_path, ZOE.encode()) == ["events.jsonl"]

    assert forget_user(tmp_path, book, ZOE, clock) == 3
    assert forget_user(tmp_path, book, ZOE + "2", clock) == 3
    assert holding(tmp_path, b"zoe") == []
    left = {name: nusd for name, nusd in before.items() if not name[1].startswith("zoe")}
    assert known(limiter, book) == left, "others, and a project of a user's name, keep their accounts"
    assert forget_user(tmp_path, book, "web", clock) == 3
    assert known(limiter, book) == {("by-project", "web"): 900}
    assert [event["budget"] for event in read_events(tmp_path)] == ["by-project"]

    spend(limiter, book, 100, user=ZOE, project="web")
    assert known(limiter, book)["by-project", "web"] == 1000
    assert sorted(rule for rule, subject in known(limiter, book) if subject.startswith("zoe")) == [
        "calls",
        "each",
    ]
    limiter.close()


def test_a_call_under_way_is_settled_where_its_user_was_forgotten(tmp_path: Path) -> None:
    clock = FrozenClock()
    limiter = MappedLimiter(tmp_path, clock=clock)
    book = seeded(limiter, RuleBook(*BOOK))
    grant = asyncio.run(
        limiter.admit(book.claims("", "", "", "", "zoe"), Demand(bound_nusd=50, strict_nusd=50))
    )
    forget_user(tmp_path, book, "zoe", clock)
    assert holding(tmp_path, b"zoe") == []
    limiter.settle(grant, 1, 40)
    limiter.flush()
    for use in limiter.uses([*book.limits, *book.budgets]):
        assert (use.under_way, use.reserved_nusd) == (0, 0)
    limiter.close()


def test_nothing_is_made_where_there_were_no_rules(tmp_path: Path) -> None:
    assert forget(tmp_path / "limits", "zoe", spare=set(), names=set(), clock=FrozenClock()) == 0
    assert not (tmp_path / "limits").exists()
