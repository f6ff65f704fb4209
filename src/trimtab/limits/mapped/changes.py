"""The two changes of the mapped file: what a grant takes, and what its settlement gives back.

Both run in the critical section. Between the two marks of `DIRTY` the order matters: what is spent goes up before
anything else, and comes down last; so whoever dies at any instruction has counted too much rather than too little,
and what is held follows from the records again (`State.mend`).
"""

from collections.abc import Callable
from typing import Final

from trimtab.limits.ports import Demand
from trimtab.limits.rules import MINUTE_NS, BudgetClaim, Claims

from .grant import MappedGrant
from .layout import ENTRIES, Cell, Header
from .state import State

_SPENT, _HELD, _UNDER_WAY = int(Cell.SPENT), int(Cell.HELD), int(Cell.UNDER_WAY)
_REQUESTS, _TOKENS = int(Cell.REQUESTS), int(Cell.TOKENS)
_DIRTY, _SETTLED = int(Header.DIRTY), int(Header.SETTLED)
_LONGEST_NS: Final = 86_400_000_000_000

Alert = Callable[[State, BudgetClaim, int], None]


def token_ns(tokens: int, rate: int) -> int:
    """Return what tokens take out of a bucket of `rate` a minute; a day at most, so that no number can break it."""
    return min(tokens * MINUTE_NS // rate, _LONGEST_NS)


def take(state: State, claims: Claims, demand: Demand, now_ns: int) -> MappedGrant | None:
    """Take what was judged to be free; None where no record is left to write it down."""
    grant = MappedGrant(state, now_ns, demand.tokens)
    entries: list[int] = []
    for budget in claims.budgets:
        hold = (demand.strict_nusd if budget.rule.strict else demand.bound_nusd) or 0
        entries += (budget.base, hold)
        grant.holds.append((budget, budget.base, hold))
        grant.reserved_nusd = max(grant.reserved_nusd, hold)
    for limit in claims.limits:
        at = limit.base
        rule = limit.rule
        if rule.concurrency:
            entries += (at, 0)
            grant.prompt |= 2 * state.numbers[at + _UNDER_WAY] >= rule.concurrency
        grant.settles |= rule.tokens > 0
        grant.limits.append((limit, at, limit.next_requests, limit.next_tokens))
    if entries:
        grant.settles = True
        if not _take_records(state, grant, len(entries)):
            return None
    numbers = state.numbers
    numbers[_DIRTY] = 1
    for _, at, hold in grant.holds:
        numbers[at + _SPENT] += hold
        numbers[at + _HELD] += hold
        numbers[at + _UNDER_WAY] += 1
    _fill_buckets(numbers, grant)
    first = 0
    for record in grant.records:
        part = entries[first : first + 2 * ENTRIES]
        for offset, number in enumerate(part, start=record + 1):
            numbers[offset] = number
        numbers[record] = len(part) // 2
        first += 2 * ENTRIES
    numbers[_DIRTY] = 0
    return grant


def _fill_buckets(numbers: memoryview, grant: MappedGrant) -> None:
    for limit, at, requests, tokens in grant.limits:
        rule = limit.rule
        if rule.request_ns:
            numbers[at + _REQUESTS] = requests
        if rule.tokens:
            numbers[at + _TOKENS] = tokens
        if rule.concurrency:
            numbers[at + _UNDER_WAY] += 1


def _take_records(state: State, grant: MappedGrant, numbers: int) -> bool:
    for _ in range(0, numbers, 2 * ENTRIES):
        record = state.take_record()
        if record < 0:
            for taken in grant.records:
                state.give_record(taken)
            return False
        grant.records.append(record)
    return True


def give_back(state: State, grant: MappedGrant, tokens: int, cost_nusd: int, alert: Alert | None) -> None:
    """Replace what a grant holds by what its call came to."""
    numbers = state.numbers
    numbers[_DIRTY] = 1
    for _, at, hold in grant.holds:
        if cost_nusd > hold:
            numbers[at + _SPENT] += cost_nusd - hold
    for budget, at, hold in grant.holds:
        if cost_nusd < hold:
            numbers[at + _SPENT] -= hold - cost_nusd
        numbers[at + _HELD] -= hold
        numbers[at + _UNDER_WAY] -= 1
        if alert is not None:
            alert(state, budget, at)
    _settle_buckets(numbers, grant, tokens)
    for record in grant.records:
        state.give_record(record)
    numbers[_SETTLED] += 1
    numbers[_DIRTY] = 0


def _settle_buckets(numbers: memoryview, grant: MappedGrant, tokens: int) -> None:
    for limit, at, _, _ in grant.limits:
        rule = limit.rule
        if rule.concurrency:
            numbers[at + _UNDER_WAY] -= 1
        if rule.tokens and numbers[at] == limit.key:
            numbers[at + _TOKENS] += token_ns(tokens, rule.tokens) - token_ns(grant.tokens, rule.tokens)
