"""Why a call is not let in, and the error that tells its caller."""

from typing import NamedTuple

from trimtab.limits.headers import duration, rate_headers
from trimtab.limits.rules import BudgetClaim, BudgetRule, LimitRule
from trimtab.types import BudgetExceeded, LimitExceeded, RateLimitExceeded, format_usd
from trimtab.types.errors import Overloaded

_SOON_S = 1.0
"""When to come back where nobody can know."""
_SOON = frozenset({"held", "unseeded"})
"""Reasons that may be gone in a moment."""


class Denial(NamedTuple):
    """A call is not let in; made in the critical section, put into words outside it."""

    rule: LimitRule | BudgetRule
    reason: str
    """`requests`, `tokens`, `concurrency`; `spent`, `dear`, `held`, `unseeded`, `unpriced`, `unbounded`, `open_ended`;
    `crowded`."""
    subject: str = ""
    after_s: float = _SOON_S
    """When there may be room."""
    reset_s: float = _SOON_S
    """When all of it is there again."""
    spent_nusd: int = 0
    bound_nusd: int = 0
    """What the call may cost, where that is why."""
    wait_s: float = 0.0
    """How long to wait for calls under way; 0: not at all."""

    @property
    def counter(self) -> str:
        """The ledger's counter of calls refused for this reason."""
        is_limit = isinstance(self.rule, LimitRule) or self.reason == "crowded"
        return f"refused_{self.reason}" if is_limit else "refused_budget"

    def error(self) -> LimitExceeded | Overloaded:
        """Return the error for the caller."""
        if self.reason == "crowded":
            return Overloaded(
                "too many calls are under way to keep account of one more; try again in a moment"
            )
        whose = f" for {self.rule.spec.per} {self.subject!r}" if self.rule.spec.per != "rule" else ""
        if isinstance(self.rule, LimitRule):
            return self._limited(self.rule, whose)
        return self._short(self.rule, whose)

    def _limited(self, rule: LimitRule, whose: str) -> RateLimitExceeded:
        spec = rule.spec
        amount = {
            "requests": f"{spec.requests_per_minute} requests a minute",
            "tokens": f"{spec.tokens_per_minute} tokens a minute",
            "concurrency": f"{spec.concurrency} calls at once",
        }[self.reason]
        error = RateLimitExceeded(
            f"limit {rule.name!r} allows {amount}{whose}; try again in {max(self.after_s, 0.001):.3g} s",
            retry_after_s=self.after_s,
        )
        if self.reason != "concurrency":
            limit = spec.requests_per_minute if self.reason == "requests" else spec.tokens_per_minute
            error.headers = rate_headers(self.reason, limit, 0, self.reset_s)
        return error

    def _short(self, rule: BudgetRule, whose: str) -> BudgetExceeded:
        spec = rule.spec
        spent, most = format_usd(self.spent_nusd), format_usd(self.bound_nusd)
        why = {
            "spent": f"{spent} is spent",
            "dear": f"{spent} is spent, and it is strict: this call may cost {most}; lower `max_tokens`",
            "held": "calls under way hold what is left",
            "unseeded": "what is spent is still being counted from the ledger",
            "unpriced": "a model that would answer has no known price, and the budget lets in no such call",
            "unbounded": "it is strict, and neither `max_tokens` nor the model bounds this call",
            "open_ended": "it is strict, and the provider bills searches or citations of the model, as many as it "
            "makes: no `max_tokens` bounds this call, use another model",
        }[self.reason]
        after_s, when = self._again(rule), ""
        if after_s is not None:
            soon = self.reason in _SOON
            when = f"; try again in {after_s:g} s" if soon else f"; it resets in {duration(after_s)}"
        allowed = "in all" if spec.period == "total" else f"a {spec.period}"
        return BudgetExceeded(
            f"budget {rule.name!r} allows {format_usd(rule.amount)} {allowed}{whose}: {why}{when}",
            retry_after_s=after_s,
        )

    def _again(self, rule: BudgetRule) -> float | None:
        """Return when the same call may be let in; None where it never is."""
        if self.reason in _SOON:
            return _SOON_S
        waiting_helps = self.reason == "spent" or (self.reason == "dear" and self.bound_nusd <= rule.amount)
        return self.reset_s if waiting_helps and rule.period != "total" else None


def over(rule: LimitRule, subject: str, reason: str, wait_ns: int, reset_ns: int) -> Denial:
    """Return that a bucket is empty."""
    return Denial(rule, reason, subject, wait_ns / 1e9, reset_ns / 1e9)


def concurrent(rule: LimitRule, subject: str) -> Denial:
    """Return that as many calls are under way as may be."""
    return Denial(rule, "concurrency", subject)


def crowded(rule: LimitRule | BudgetRule) -> Denial:
    """Return that there is no place to keep account of one more call."""
    return Denial(rule, "crowded")


def beyond(claim: BudgetClaim, reason: str, now_us: int, spent_nusd: int = 0, bound_nusd: int = 0) -> Denial:
    """Return that a budget does not cover the call, whatever becomes of those under way."""
    left_s = max((claim.end_us - now_us) / 1e6, 0.0)
    return Denial(claim.rule, reason, claim.subject, left_s, left_s, spent_nusd, bound_nusd)


def short(claim: BudgetClaim, now_us: int, reason: str) -> Denial:
    """Return that a budget may cover the call a little later."""
    return beyond(claim, reason, now_us)._replace(wait_s=claim.rule.spec.wait_s)
