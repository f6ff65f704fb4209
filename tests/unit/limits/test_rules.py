"""Rules hold for the calls they name, and count for the subject they say."""

import doctest

import pytest

from trimtab.limits import RuleBook, Who, period_of
from trimtab.limits import headers as headers_module
from trimtab.limits import period as period_module
from trimtab.types import BudgetSpec, KeySpec, LimitSpec

_US = 1_000_000
_DAY = 86_400


def subjects(spec: LimitSpec | BudgetSpec, who: Who) -> list[str]:
    keys = [KeySpec(id="key_1", sha256="a", name="ci"), KeySpec(id="key_2", sha256="b", name="ci")]
    is_limit = isinstance(spec, LimitSpec)
    book = RuleBook([spec] if is_limit else [], [] if is_limit else [spec], keys)
    claims = book.claims(*who)
    return [claim.subject for claim in (*claims.limits, *claims.budgets)]


WHO = Who("key_1", "acme", "support", "openai/gpt-4o", "ann")


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({}, True),
        ({"key": "key_1"}, True),
        ({"key": "ci"}, True),
        ({"key": "key_3"}, False),
        ({"project": "acme"}, True),
        ({"project": "default"}, False),
        ({"route": "support"}, True),
        ({"route": "other"}, False),
        ({"model": "openai/gpt-4o"}, True),
        ({"model": "openai/*"}, True),
        ({"model": "*"}, True),
        ({"model": "openai/gpt-4"}, False),
        ({"model": "anthropic/*"}, False),
        ({"project": "acme", "model": "anthropic/*"}, False),
    ],
)
def test_a_rule_holds_where_all_that_it_names_fits(fields: dict[str, str], holds: bool) -> None:
    assert subjects(LimitSpec(name="x", **fields), WHO) == [""] * holds
    assert subjects(BudgetSpec(name="x", amount_nusd=1, **fields), WHO) == [""] * holds


@pytest.mark.parametrize(
    ("per", "subject"),
    [("rule", ""), ("key", "key_1"), ("project", "acme"), ("user", "ann"), ("model", "openai/gpt-4o")],
)
def test_a_limit_counts_for_its_subject(per: str, subject: str) -> None:
    assert subjects(LimitSpec(name="x", per=per), WHO) == [subject]


def test_another_amount_goes_on_with_the_same_account_and_another_match_does_not() -> None:
    def ident(**fields: object) -> int:
        return RuleBook([], [BudgetSpec(**{"name": "x", "amount_nusd": 5} | fields)]).budgets[0].ident

    assert ident() == ident(amount_nusd=7, hard=False, wait_s=1.0)
    assert len({ident(), ident(period="day"), ident(per="key"), ident(model="a/b"), ident(name="y")}) == 5


def test_callers_are_remembered_in_bounds() -> None:
    book = RuleBook([LimitSpec(name="x", per="user")], [])
    first = book.claims("k", "p", "", "m", "u0")
    assert book.claims("k", "p", "", "m", "u0") is first
    for i in range(5000):
        book.claims("k", "p", "", "m", f"u{i}")
    assert len(book._claims) <= 4096


@pytest.mark.parametrize("period", ["hour", "day", "week", "month", "total"])
def test_periods_follow_one_another_without_a_gap(period: str) -> None:
    at = 1_709_164_800 * _US  # 2024-02-29, a Thursday
    start, end = period_of(period, at)
    assert start <= at < end
    if period != "total":
        assert period_of(period, end)[0] == end
        assert period_of(period, end - 1) == (start, end)
        assert period_of(period, start) == (start, end)


def test_a_week_begins_on_monday_and_a_month_has_its_days() -> None:
    start, end = period_of("week", 1_709_164_800 * _US)
    assert (start, end - start) == (1_708_905_600 * _US, 7 * _DAY * _US)
    start, end = period_of("month", 1_709_164_800 * _US)
    assert (end - start) // (_DAY * _US) == 29


@pytest.mark.parametrize("module", [period_module, headers_module])
def test_examples_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]
