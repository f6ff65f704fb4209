"""Why a call is not let in, and the error that tells its caller."""

from typing import NamedTuple

from trimtab.limits.headers import duration, rate_headers
from trimtab.limits.rules import BudgetClaim, BudgetRule, LimitRule
from trimtab.types import BudgetExceeded, LimitExceeded, RateLimitExceeded, format_usd
from trimtab.types.errors import Overloaded

_SOON_S = 1.0
"""When to come back where nobody can know."""


class Denial(NamedTuple):
    """A call is not let in; made in the critical section, put into words outside it."""

    rule: LimitRule | BudgetRule
    reason: str
    """`requests`, `tokens`, `concurrency`; `spent`, `held`, `unseeded`, `unpriced`, `unbounded`; `crowded`."""
    subject: str = ""
    after_s: float = _SOON_S
    """When there may be room."""
    reset_s: float = _SOON_S
    """When all of it is there again."""
    spent_nusd: int = 0
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
        spec, resets = rule.spec, ""
        if spec.period != "total":
            resets = f"; it resets in {duration(self.reset_s)}"
        why = {
            "spent": f"{format_usd(self.spent_nusd)} is spent",
            "held": "calls under way hold what is left",
            "unseeded": "what is spent is still being counted from the ledger",
            "unpriced": "and a model that would answer has no known price",
            "unbounded": "it is strict, and neither `max_tokens` nor the model bounds this call",
        }[self.reason]
        when = {"held": _SOON_S, "unseeded": _SOON_S}.get(self.reason, self.reset_s)
        return BudgetExceeded(
            f"budget {rule.name!r} allows {format_usd(rule.amount)} a {spec.period}{whose}: {why}{resets}"
            if spec.period != "total"
            else f"budget {rule.name!r} allows {format_usd(rule.amount)} in all{whose}: {why}",
            retry_after_s=None if spec.period == "total" and self.reason == "spent" else when,
        )


def over(rule: LimitRule, subject: str, reason: str, wait_ns: int, reset_ns: int) -> Denial:
    """Return that a bucket is empty."""
    return Denial(rule, reason, subject, wait_ns / 1e9, reset_ns / 1e9)


def concurrent(rule: LimitRule, subject: str) -> Denial:
    """Return that as many calls are under way as may be."""
    return Denial(rule, "concurrency", subject)


def crowded(rule: LimitRule | BudgetRule) -> Denial:
    """Return that there is no place to keep account of one more call."""
    return Denial(rule, "crowded")


def beyond(claim: BudgetClaim, reason: str, now_us: int, spent_nusd: int = 0) -> Denial:
    """Return that a budget does not cover the call, whatever becomes of those under way."""
    left_s = max((claim.end_us - now_us) / 1e6, 0.0)
    return Denial(claim.rule, reason, claim.subject, left_s, left_s, spent_nusd)


def short(claim: BudgetClaim, now_us: int, reason: str) -> Denial:
    """Return that a budget may cover the call a little later."""
    return beyond(claim, reason, now_us)._replace(wait_s=claim.rule.spec.wait_s)
