"""What a call was granted: where it stands in the file, and how its limits stood."""

from trimtab.limits.ports import LimitState
from trimtab.limits.rules import MINUTE_NS, BudgetClaim, LimitClaim

from .state import State


class MappedGrant:
    """See `Grant`."""

    __slots__ = (
        "at_ns",
        "cells",
        "holds",
        "limits",
        "prompt",
        "records",
        "reserved_nusd",
        "settled",
        "settles",
        "state",
        "tokens",
    )

    def __init__(self, state: State, at_ns: int, tokens: int) -> None:
        self.state = state
        """The mapping it was made in: another may have taken its place since."""
        self.at_ns = at_ns
        self.tokens = tokens
        self.holds: list[tuple[BudgetClaim, int, int]] = []
        """Budgets, where their cells stand, and what they hold."""
        self.records: list[int] = []
        self.limits: list[tuple[LimitClaim, int, int, int]] = []
        """Limits, where their cells stand, and when their buckets of requests and tokens will be full."""
        self.reserved_nusd = 0
        self.settled = False
        self.settles = False
        """Whether it gives anything back: a limit on requests alone does not."""
        self.prompt = False
        """Whether that must be seen at once: little is left, and somebody may be refused for want of it."""

    def states(self) -> tuple[LimitState | None, LimitState | None]:
        """See `Grant.states`."""
        requests = tokens = None
        if not self.limits:
            return None, None
        for claim, _, full_requests, full_tokens in self.limits:
            rule = claim.rule
            if rule.request_ns:
                most = 1 + rule.request_room_ns // rule.request_ns
                ahead = max(full_requests - self.at_ns, 0)
                left = max(most - -(-ahead // rule.request_ns), 0)
                requests = _tighter(requests, LimitState(rule.spec.requests_per_minute, left, ahead / 1e9))
            if rule.tokens:
                ahead = max(full_tokens - self.at_ns, 0)
                left = max((rule.token_room_ns - ahead) * rule.tokens // MINUTE_NS, 0)
                tokens = _tighter(tokens, LimitState(rule.tokens, left, ahead / 1e9))
        return requests, tokens


def _tighter(one: LimitState | None, other: LimitState) -> LimitState:
    return other if one is None or other.remaining < one.remaining else one
