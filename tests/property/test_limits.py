"""A model of the limiter: whatever happens, what is spent is what was settled and what the dead held."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trimtab.limits import Demand, MappedLimiter, RuleBook
from trimtab.limits.mapped.grant import MappedGrant
from trimtab.testing import FrozenClock
from trimtab.testing.limiters import claims, seeded
from trimtab.types import BudgetExceeded, BudgetSpec, LimitExceeded, LimitSpec, RateLimitExceeded

_AMOUNT = 10_000
_AT_ONCE = 4
_RATE = 60
KEYS = ("a", "b")


class Shared(RuleBasedStateMachine):
    """Three processes (limiters on one file), two keys, a budget and limits each; processes die and are born."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name)
        self.clock = FrozenClock()
        self.limiters = [self._born() for _ in range(3)]
        specs = [BudgetSpec(name="each", amount_nusd=_AMOUNT, per="key", period="total", wait_s=0.0)]
        limits = [
            LimitSpec(name="each", per="key", concurrency=_AT_ONCE, requests_per_minute=_RATE, burst_s=3)
        ]
        self.books = [RuleBook(limits, specs) for _ in range(3)]
        seeded(self.limiters[0], self.books[0])
        self.open: list[tuple[int, str, int, MappedGrant]] = []
        self.spent = dict.fromkeys(KEYS, 0)
        self.largest = dict.fromkeys(KEYS, 0)
        self.admitted = dict.fromkeys(KEYS, 0)
        self.began = self.clock.monotonic()

    def _born(self) -> MappedLimiter:
        return MappedLimiter(self.path, clock=self.clock)

    def held(self, key: str) -> int:
        """Return what calls under way hold."""
        return sum(bound for _, whose, bound, _ in self.open if whose == key)

    @rule(who=st.integers(0, 2), key=st.sampled_from(KEYS), bound=st.integers(1, 6000))
    def admit(self, who: int, key: str, bound: int) -> None:
        """Ask to be let in."""
        demand = Demand(0, bound, bound)
        under_way = [entry for entry in self.open if entry[1] == key]
        spent = self.spent[key]
        try:
            grant = asyncio.run(self.limiters[who].admit(claims(self.books[who], key), demand))
        except RateLimitExceeded:
            most = 3 + (self.clock.monotonic() - self.began)
            assert len(under_way) >= _AT_ONCE or self.admitted[key] >= 3, most
            return
        except BudgetExceeded:
            assert spent + self.held(key) + bound > _AMOUNT
            assert spent >= _AMOUNT or under_way, "something is left, and nobody is under way"
            return
        except LimitExceeded as error:
            raise AssertionError("of another kind") from error
        assert len(under_way) < _AT_ONCE
        assert spent + self.held(key) + bound <= _AMOUNT or (spent < _AMOUNT and not under_way)
        self.admitted[key] += 1
        assert self.admitted[key] <= 3 + (self.clock.monotonic() - self.began) * _RATE / 60 + 1e-6
        assert isinstance(grant, MappedGrant)
        self.open.append((who, key, bound, grant))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), cost=st.integers(0, 9000))
    def settle(self, data: st.DataObject, cost: int) -> None:
        """End a call."""
        index = data.draw(st.integers(0, len(self.open) - 1))
        who, key, _, grant = self.open.pop(index)
        self.limiters[who].settle(grant, 0, cost)
        self.spent[key] += cost

    @rule(who=st.integers(0, 2))
    def die(self, who: int) -> None:
        """A process ends without a word; another takes its place."""
        for entry in [entry for entry in self.open if entry[0] == who]:
            self.open.remove(entry)
            self.spent[entry[1]] += entry[2]
        self.limiters[who].close()
        self.limiters[who] = self._born()
        self.limiters[who].check()
        self.limiters[who].unseeded([])

    @rule(seconds=st.floats(0.01, 30))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)
        self.limiters[0].check()

    @rule(jump=st.integers(-(10**13), 10**13))
    def jump(self, jump: int) -> None:
        """The wall clock is set to something else."""
        self.clock.set_now_us(max(0, self.clock.now_us() + jump))
        self.limiters[1].check()

    @rule(who=st.integers(0, 2))
    def torn(self, who: int) -> None:
        """Somebody died in the middle of a change."""
        with self.limiters[who].state as state:
            state.numbers[2] = 1

    @rule(key=st.sampled_from(KEYS), known=st.integers(0, 9000))
    def seed(self, key: str, known: int) -> None:
        """The ledger says what it knows; less than what is settled changes nothing."""
        for rule_ in self.books[0].budgets:
            self.limiters[0].seed(rule_, {key: min(known, self.spent[key])}, 0, 1 << 62)

    @invariant()
    def accounts_agree(self) -> None:
        """What every process sees is what happened."""
        for limiter, book in zip(self.limiters, self.books, strict=True):
            limiter.flush()
            limiter.unseeded([])
            uses = {use.subject: use for use in limiter.uses(book.budgets)}
            for key in KEYS:
                if key in uses:
                    assert (uses[key].spent_nusd, uses[key].reserved_nusd) == (
                        self.spent[key],
                        self.held(key),
                    )
                else:
                    assert not self.spent[key]

    def teardown(self) -> None:
        for limiter in self.limiters:
            limiter.close()
        self._folder.cleanup()


TestShared = Shared.TestCase
TestShared.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
