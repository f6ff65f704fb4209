"""How rules stand, read off the mapped file for people."""

from collections.abc import Sequence

from trimtab.limits.ports import Use
from trimtab.limits.rules import MINUTE_NS, BudgetRule, LimitRule

from .layout import AT_CELLS, AT_RECORDS, CELL, Cell
from .state import State


def uses_of(state: State, rules: Sequence[LimitRule | BudgetRule], now_ns: int) -> list[Use]:
    """Return how rules stand for all subjects that have a cell, in their present period; biggest spender first.

    Each number is whole, and as of one moment; sums of several may be a call apart, for nothing is locked.
    """
    by_ident = {rule.ident: rule for rule in rules}
    numbers, now_us = state.numbers, state.now_us()
    found = []
    for index, ident in enumerate(numbers[AT_CELLS + Cell.RULE : AT_RECORDS : CELL].tolist()):
        rule = by_ident.get(ident) if ident else None
        at = AT_CELLS + index * CELL
        if rule is None or numbers[at] in (0, -1):
            continue
        if isinstance(rule, LimitRule):
            found.append(_limit_use(state, at, rule, now_ns))
        elif numbers[at + Cell.START_US] <= now_us < numbers[at + Cell.END_US]:
            found.append(_budget_use(state, at, rule))
    return sorted(found, key=lambda use: (use.rule, -use.spent_nusd - use.reserved_nusd, use.subject))


def _budget_use(state: State, at: int, rule: BudgetRule) -> Use:
    numbers = state.numbers
    held = numbers[at + Cell.HELD]
    return Use(
        rule=rule.name,
        subject=state.subject(at),
        spent_nusd=numbers[at + Cell.SPENT] - held,
        reserved_nusd=held,
        start_us=numbers[at + Cell.START_US],
        end_us=numbers[at + Cell.END_US],
        under_way=numbers[at + Cell.UNDER_WAY],
    )


def _limit_use(state: State, at: int, rule: LimitRule, now_ns: int) -> Use:
    numbers = state.numbers
    requests = tokens = 0
    if rule.request_ns:
        ahead = max(numbers[at + Cell.REQUESTS] - now_ns, 0)
        requests = max(1 + (rule.request_room_ns - ahead) // rule.request_ns, 0)
    if rule.tokens:
        ahead = max(numbers[at + Cell.TOKENS] - now_ns, 0)
        tokens = max((rule.token_room_ns - ahead) * rule.tokens // MINUTE_NS, 0)
    return Use(
        rule=rule.name,
        subject=state.subject(at),
        under_way=numbers[at + Cell.UNDER_WAY],
        requests_left=requests,
        tokens_left=tokens,
    )
