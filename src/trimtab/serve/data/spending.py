"""Telling the limiter what the ledger knows of money: at a start, for a new budget, after a lost state."""

from collections.abc import Iterable

from trimtab.limits import BudgetRule, Limiter, RuleBook, Who, period_of
from trimtab.storage import CallStore, SpendRow
from trimtab.types import Snapshot


def rule_book(snapshot: Snapshot) -> RuleBook:
    """Return a snapshot's limits and budgets, compiled."""
    return RuleBook(snapshot.limits, snapshot.budgets, snapshot.keys)


def seed_budgets(limiter: Limiter, rules: Iterable[BudgetRule], calls: CallStore) -> None:
    """Count what budgets' present periods have cost so far, and let calls in under them."""
    for rule, spent, period in spent_so_far(rules, calls, limiter.now_us()):
        limiter.seed(rule, spent, *period)


def spent_so_far(
    rules: Iterable[BudgetRule], calls: CallStore, now_us: int
) -> list[tuple[BudgetRule, dict[str, int], tuple[int, int]]]:
    """Return (budget, subject → nano-USD, period) for budgets' present periods. Scans their days."""
    known: dict[int, list[SpendRow]] = {}
    found = []
    for rule in rules:
        period = period_of(rule.period, now_us)
        if period[0] not in known:
            known[period[0]] = calls.spend(period[0])
        found.append((rule, spent_under(rule, known[period[0]]), period))
    return found


def spent_under(rule: BudgetRule, rows: Iterable[SpendRow]) -> dict[str, int]:
    """Return what rows come to under a budget: subject → nano-USD."""
    spent: dict[str, int] = {}
    for row in rows:
        who = Who(row.key, row.project, row.route, row.model, row.user)
        if rule.matches(who):
            subject = rule.subject_of(who)
            spent[subject] = spent.get(subject, 0) + row.cost_nusd
    return spent
