"""Admission and settlement in the mapped file."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from trimtab.limits.period import period_of
from trimtab.limits.ports import Demand, Grant, Use
from trimtab.limits.rules import (
    BudgetClaim,
    BudgetRule,
    Claim,
    Claims,
    LimitClaim,
    LimitRule,
    number_of,
)
from trimtab.types import Clock, SystemClock

from .changes import give_back, take, token_ns
from .denial import Denial, beyond, concurrent, crowded, over, short
from .events import Events
from .grant import MappedGrant
from .layout import Cell, Header
from .state import State
from .view import uses_of
from .waiting import Queue

_SPENT, _ALERTS, _HELD = int(Cell.SPENT), int(Cell.ALERTS), int(Cell.HELD)
_REQUESTS, _TOKENS, _UNDER_WAY = int(Cell.REQUESTS), int(Cell.TOKENS), int(Cell.UNDER_WAY)
_DIRTY, _OFFSET, _EPOCH, _SETTLED = (
    int(Header.DIRTY), int(Header.OFFSET_US), int(Header.EPOCH), int(Header.SETTLED),
)  # fmt: skip

BELIEVED_S: Final = 2.0
"""A step of the wall clock that is followed at once."""
_TOGETHER_S: Final = 0.002
"""How long an ended call may wait for others to be settled with, where nobody is short of what it gives back."""
PATIENCE_S: Final = 600.0
"""How long a longer one must last before it is believed."""
_OTHERS: Final = "(others)"
"""Subject of what found no place of its own."""

Count = Callable[[str], None]
Settlement = tuple[MappedGrant, int, int, bool]
"""A grant, the tokens and nano-USD that its call came to, and whether it may alert."""


def _uncounted(_name: str) -> None:
    """Count nothing."""


class MappedLimiter:
    """See `Limiter`. One a process and file, on one event loop; the file is made when the first rule needs it."""

    def __init__(self, folder: Path, *, clock: Clock | None = None, count: Count = _uncounted) -> None:
        """Prepare; nothing is opened yet.

        Args:
            folder: where the file and its events lie.
            clock: wall and monotonic time.
            count: raises one of the ledger's counters.
        """
        self._folder = folder
        self._clock = clock or SystemClock()
        self._count = count
        self._events = Events(folder / "events.jsonl")
        self._opened: State | None = None
        self._ended: list[Settlement] = []
        """Calls that have ended a moment ago: settled together, or with the next one to come."""
        self._due = 0
        """2: `flush` comes in this turn of the event loop. 1: in a moment. 0: it was not called for."""
        self._queue = Queue(self)

    @property
    def state(self) -> State:
        """The open file.

        Raises:
            StorageError: it cannot be made or opened.
        """
        if self._opened is None:
            self._opened = State(self._folder / "state", self._clock)
        return self._opened

    # --- admission ------------------------------------------------------------------------------------------

    def admit_now(self, claims: Claims, demand: Demand) -> Grant | None:
        """See `Limiter.admit_now`. About 5 µs with a limit and a budget, two of them for the lock."""
        found = self.attempt(claims, demand)
        if not isinstance(found, Denial):
            return found
        if found.wait_s:
            return None
        self.refused(found)
        raise found.error()

    async def admit(
        self, claims: Claims, demand: Demand, gone: Callable[[], Awaitable[None]] | None = None
    ) -> Grant:
        """See `Limiter.admit`."""
        found = self.attempt(claims, demand)
        if isinstance(found, Denial):
            if not found.wait_s:
                self.refused(found)
                raise found.error()
            self._count("budget_waits")
            return await self._queue.wait(claims, demand, found, gone)
        return found

    def refused(self, denial: Denial) -> None:
        """Count a call that is refused, by reason."""
        self._count(denial.counter)

    def attempt(self, claims: Claims, demand: Demand) -> MappedGrant | Denial:
        """Let a call in, or say why not; nothing is touched then."""
        state = self._opened or self.state
        state.locks.take()
        try:
            if state.numbers[_DIRTY]:
                state.mend()
            if self._ended:
                self._settle_all(state)
            now = self._clock.monotonic()
            now_ns, now_us = int(now * 1e9), int(now * 1e6) + state.numbers[_OFFSET]
            for limit in claims.limits:
                denial = self._limit(state, limit, demand.tokens, now_ns)
                if denial is not None:
                    return denial
            waits = None
            for budget in claims.budgets:
                denial = self._budget(state, budget, demand, now_us)
                if denial is not None:
                    if not denial.wait_s:
                        return denial
                    waits = waits or denial
            if waits is not None:
                return waits
            grant = take(state, claims, demand, now_ns)
            return grant if grant is not None else crowded((claims.budgets or claims.limits)[0].rule)
        finally:
            state.locks.free()

    def _limit(self, state: State, claim: LimitClaim, tokens: int, now: int) -> Denial | None:
        rule, numbers, at = claim.rule, state.numbers, claim.base
        if at < 0 or numbers[at] != claim.key:
            at = self._place(state, claim, (0, 0))
            if at < 0:
                return crowded(rule)
        if rule.concurrency and numbers[at + _UNDER_WAY] >= rule.concurrency:
            return concurrent(rule, claim.subject)
        if rule.request_ns:
            full = numbers[at + _REQUESTS]
            full = max(full, now)
            if full - now > rule.request_room_ns:
                return over(rule, claim.subject, "requests", full - now - rule.request_room_ns, full - now)
            claim.next_requests = full + rule.request_ns
        if rule.tokens:
            full = max(numbers[at + _TOKENS], now)
            after = full + token_ns(tokens, rule.tokens)
            # A call of more tokens than the bucket holds comes in when it is full, and the next ones wait longer.
            if full > now and after - now > rule.token_room_ns:
                wait = min(after - now - rule.token_room_ns, full - now)
                return over(rule, claim.subject, "tokens", wait, full - now)
            claim.next_tokens = after
        return None

    def _budget(self, state: State, claim: BudgetClaim, demand: Demand, now_us: int) -> Denial | None:
        rule, numbers = claim.rule, state.numbers
        if not claim.start_us <= now_us < claim.end_us:
            claim.enter(*period_of(rule.period, now_us))
        at = claim.base
        if at < 0 or numbers[at] != claim.key:
            at = self._place(state, claim, (claim.start_us, claim.end_us))
            if at < 0:
                return crowded(rule)
        if not rule.hard:
            return None
        if rule.seeded != numbers[_EPOCH] and not self._is_seeded(state, rule):
            return short(claim, now_us, "unseeded")
        if not demand.priced and rule.spec.unpriced == "refuse":
            return beyond(claim, "unpriced", now_us)
        return self._fits(state, claim, demand, now_us)

    def _fits(self, state: State, claim: BudgetClaim, demand: Demand, now_us: int) -> Denial | None:
        """Judge an upper bound beside what is spent and held."""
        rule, numbers, at = claim.rule, state.numbers, claim.base
        bound = demand.strict_nusd if rule.strict else demand.bound_nusd
        if bound is None:
            return beyond(claim, "unbounded" if demand.bounded else "open_ended", now_us)
        if not bound and demand.priced:
            return None  # free models go on when a budget is used up
        spent, left = numbers[at + _SPENT], rule.amount
        if spent + bound <= left and (bound or spent < left):
            return None
        settled = spent - numbers[at + _HELD]
        if settled >= left:
            return beyond(claim, "spent", now_us, settled)
        if rule.strict and settled + bound > left:
            return beyond(claim, "dear", now_us, settled, bound)
        # Where nothing is under way, what is left is worth one more call, whatever its bound.
        return short(claim, now_us, "held") if numbers[at + _UNDER_WAY] else None

    def _place(self, state: State, claim: Claim, period: tuple[int, int]) -> int:
        """Return where a claim's cell stands; one that finds no place shares its rule's cell of last resort."""
        ident = claim.rule.ident
        at = state.find(claim.key)
        if at < 0:
            at = state.make(claim.key, ident, claim.subject, period)
        if at < 0:
            self._count("limits_crowded")
            state.numbers[Header.CROWDED] += 1
            claim.key = number_of(str(ident), _OTHERS, str(period[0]), "shared")
            at = state.find(claim.key)
            if at < 0:
                at = state.make_extra(claim.key, ident, _OTHERS, period)
        claim.base = at
        return at

    # --- settlement -----------------------------------------------------------------------------------------

    def settle(self, grant: Grant, tokens: int, cost_nusd: int, *, alarm: bool = True) -> None:
        """See `Limiter.settle`. About 1 µs, and 4 every two milliseconds for all calls that have ended meanwhile."""
        assert isinstance(grant, MappedGrant), "a grant of this limiter"
        if grant.settled:
            return
        grant.settled = True
        if not grant.settles:
            return
        self._ended.append((grant, tokens, cost_nusd, alarm))
        soon = grant.prompt or bool(self._queue)
        if self._due >= 1 + soon:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop runs: there is no later
            self.flush()
            return
        self._due = 1 + soon
        if soon:
            loop.call_soon(self.flush)
        else:
            loop.call_later(_TOGETHER_S, self.flush)

    def flush(self) -> None:
        """Settle what has ended, now."""
        self._due = 0
        if not self._ended:
            return
        with self.state as state:
            self._settle_all(state)
        self._queue.wake()

    def _settle_all(self, state: State) -> None:
        ended, self._ended = self._ended, []
        for grant, tokens, cost_nusd, alarm in ended:
            if grant.state is state:
                give_back(state, grant, tokens, cost_nusd, self._alert if alarm else None)
            else:
                self._settle_late(state, grant, cost_nusd)

    def _alert(self, state: State, claim: BudgetClaim, at: int) -> None:
        rule, numbers = claim.rule, state.numbers
        spent = numbers[at + _SPENT] - numbers[at + _HELD]
        if not rule.alerts or spent < rule.alerts[0][2]:
            return
        given = numbers[at + _ALERTS]
        for bit, share, amount in rule.alerts:
            if spent >= amount and not given & bit:
                self._events.reached(claim, share, spent, state.now_us())
                self._count("budget_alerts")
                given |= bit
        numbers[at + _ALERTS] = given

    def _settle_late(self, state: State, grant: MappedGrant, cost_nusd: int) -> None:
        """Charge the file that took the place of the one that the grant was made in."""
        for budget, _, _ in grant.holds:
            at = self._place(state, budget, (budget.start_us, budget.end_us))
            if at >= 0:
                state.numbers[at + _SPENT] += cost_nusd

    # --- seeds, views, upkeep -------------------------------------------------------------------------------

    def seed(self, rule: BudgetRule, spent: Mapping[str, int], start_us: int, end_us: int) -> None:
        """See `Limiter.seed`."""
        state = self.state
        with state:
            for subject, nusd in spent.items():
                claim = BudgetClaim(rule, subject)
                claim.enter(start_us, end_us)
                at = self._place(state, claim, (start_us, end_us))
                settled = state.numbers[at + _SPENT] - state.numbers[at + _HELD]
                if at >= 0 and settled < nusd:
                    state.numbers[at + _SPENT] += nusd - settled
            mark = _mark(rule)
            at = state.find(mark)
            if at < 0:
                at = state.make_extra(mark, 0, f"seeded {rule.name}", (0, 1 << 62))
            state.numbers[at + _SPENT] = state.numbers[_EPOCH] + 1
            state.numbers[_SETTLED] += 1

    def _is_seeded(self, state: State, rule: BudgetRule) -> bool:
        epoch, at = state.numbers[_EPOCH], state.find(_mark(rule))
        if at < 0 or state.numbers[at + _SPENT] != epoch + 1:
            return False
        rule.seeded = epoch
        return True

    def unseeded(self, rules: Iterable[BudgetRule]) -> list[BudgetRule]:
        """See `Limiter.unseeded`."""
        state = self.state
        with state:
            return [rule for rule in rules if not self._is_seeded(state, rule)]

    def unseed(self, rule: BudgetRule) -> None:
        """See `Limiter.unseed`."""
        state = self.state
        with state:
            at = state.find(_mark(rule))
            if at >= 0:
                state.numbers[at + _SPENT] = 0
        rule.seeded = -1

    def uses(self, rules: Iterable[LimitRule | BudgetRule]) -> list[Use]:
        """See `Limiter.uses`. About 10 ms, outside the lock."""
        self.flush()
        return uses_of(self.state, list(rules), int(self._clock.monotonic() * 1e9))

    def now_us(self) -> int:
        """See `Limiter.now_us`."""
        return self.state.now_us()

    def left(self) -> int:
        """Return how many calls processes left behind that died."""
        return self.state.numbers[Header.LEFT]

    def crowded(self) -> int:
        """Return how often a subject found no place of its own."""
        return self.state.numbers[Header.CROWDED]

    def check(self) -> None:
        """See `Limiter.check`. Nothing where no rule was ever in force here."""
        if self._opened is None:
            return
        self.flush()
        if self._opened.is_lost():
            self._opened.close()
            self._opened = State(self._folder / "state", self._clock)
        with self._opened as state:
            state.follow_clock(BELIEVED_S, PATIENCE_S)
            state.free_the_dead()

    def close(self) -> None:
        """See `Limiter.close`."""
        if self._opened is not None:
            self.flush()
            self._opened.close()
            self._opened = None


def _mark(rule: BudgetRule) -> int:
    return number_of("seeded", str(rule.ident))
