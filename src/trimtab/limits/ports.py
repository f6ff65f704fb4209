"""The port that keeps the state of limits and budgets. What passes `testing.check_limiter` is a backend."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from .rules import BudgetRule, Claims, LimitRule


class Demand(NamedTuple):
    """What a call may take at most."""

    tokens: int = 0
    """Input and output together, by estimate."""
    bound_nusd: int = 0
    """Upper bound of its cost; 0 where no price is known."""
    strict_nusd: int | None = 0
    """The same without any assumption; None: there is no bound, since neither request nor model names one."""
    priced: bool = True
    """Whether all models that may answer have a known price."""
    bounded: bool = True
    """False where a provider may bill searches or texts that it fetches itself: no `max_tokens` bounds those."""


class LimitState(NamedTuple):
    """A limit as a call met it, for the reply's headers."""

    limit: int
    """Per minute."""
    remaining: int
    """How much more may come at once now."""
    reset_s: float
    """When all of the burst may come again."""


class Grant(Protocol):
    """A call was let in: settle it exactly once."""

    @property
    def reserved_nusd(self) -> int:
        """What budgets hold for it; 0 where none applies."""
        ...

    def states(self) -> tuple[LimitState | None, LimitState | None]:
        """Return how (requests, tokens) stand, by the tightest limit on each; None where none applies."""
        ...


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """How a rule stands for one subject."""

    rule: str
    subject: str
    spent_nusd: int = 0
    reserved_nusd: int = 0
    """Held for calls under way."""
    start_us: int = 0
    end_us: int = 0
    """Of the budget's period; 0 for a limit."""
    under_way: int = 0
    requests_left: int = 0
    """How many may come at once now."""
    tokens_left: int = 0


class Limiter(Protocol):
    """Shared state of limits and budgets. Used on one event loop a process."""

    def admit_now(self, claims: Claims, demand: Demand) -> Grant | None:
        """Let a call in as `admit` does, where nothing must be waited for; None: `admit` has to be awaited.

        Raises:
            RateLimitExceeded: a limit is reached.
            BudgetExceeded: a budget is.
        """
        ...

    async def admit(
        self, claims: Claims, demand: Demand, gone: Callable[[], Awaitable[None]] | None = None
    ) -> Grant:
        """Let a call in: all rules grant it, or none is touched.

        A budget grants what fits beside all that is spent and held. What only calls under way stand in the way of
        waits for those, at most the rule's `wait_s`. Where nothing is under way and something is left, a call is let
        in whatever its bound, unless the rule is strict: the overshoot is one call's.

        Args:
            claims: what holds for it.
            demand: what it may take.
            gone: returns once nobody waits for the answer any more.

        Raises:
            RateLimitExceeded: a limit is reached.
            BudgetExceeded: a budget is.
            ClientGone: nobody waits any more.
        """
        ...

    def settle(self, grant: Grant, tokens: int, cost_nusd: int, *, alarm: bool = True) -> None:
        """Replace what was held by what it came to. Returns at once; seen everywhere within milliseconds.

        Args:
            grant: as `admit` gave it.
            tokens: input and output together.
            cost_nusd: what it cost.
            alarm: whether it may cause an alert.
        """
        ...

    def seed(self, rule: BudgetRule, spent: Mapping[str, int], start_us: int, end_us: int) -> None:
        """Make a budget's accounts of a period at least what the ledger says, and let calls in under it.

        Until it is seeded once, calls under a hard budget wait.

        Args:
            rule: the budget.
            spent: subject → nano-USD.
            start_us: the period's start.
            end_us: its end.
        """
        ...

    def unseeded(self, rules: Iterable[BudgetRule]) -> list[BudgetRule]:
        """Return those that nobody has seeded since the state was made, or was found in doubt."""
        ...

    def unseed(self, rule: BudgetRule) -> None:
        """Ask that a budget be seeded again: nobody counted for it for a while."""
        ...

    def uses(self, rules: Iterable[LimitRule | BudgetRule]) -> list[Use]:
        """Return how rules stand now, for every subject that is known of; may scan all state."""
        ...

    def now_us(self) -> int:
        """Return the time that periods go by: the wall clock, but for jumps that are not believed yet."""
        ...

    def check(self) -> None:
        """Do what is due every second: free what the dead held, follow the clock, notice a lost state."""
        ...

    def close(self) -> None:
        """Release what is held; calls that were let in and not settled count at their bound."""
        ...
