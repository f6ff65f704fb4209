"""Rules compiled for the hot path: which limits and budgets hold for a call, and for whom each counts."""

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from trimtab.types import BudgetSpec, KeySpec, LimitSpec

MINUTE_NS = 60_000_000_000
_KEPT = 4096
"""Callers and models whose rules are remembered; callers may invent names, so it is bounded."""
_TOP = 1 << 63


class Who(NamedTuple):
    """What of a call decides which rules hold."""

    key: str
    project: str
    route: str
    model: str
    user: str = ""


_SUBJECTS: dict[str, Callable[[Who], str]] = {
    "rule": lambda _who: "",
    "key": lambda who: who.key,
    "project": lambda who: who.project,
    "route": lambda who: who.route,
    "model": lambda who: who.model,
    "user": lambda who: who.user,
}


def number_of(*parts: str) -> int:
    """Return a 64-bit signed number, never 0 or -1, that stands for some texts."""
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest, "little") - _TOP
    return number if number not in (0, -1) else 1


class _Rule:
    """What limits and budgets have in common."""

    __slots__ = ("_ids", "_model", "_prefix", "ident", "name", "per_user", "spec", "subject_of")

    def __init__(self, spec: LimitSpec | BudgetSpec, ids: frozenset[str], scope: str) -> None:
        self.name = spec.name
        self.spec = spec
        self._ids = ids
        self._prefix = spec.model[:-1] if spec.model.endswith("*") else None
        self._model = spec.model
        self.per_user = spec.per == "user"
        self.subject_of = _SUBJECTS[spec.per]
        self.ident = number_of(scope, spec.name, spec.key, spec.project, spec.route, spec.model, spec.per)
        """Stands for what the rule counts: another amount goes on with the same account, another match does not."""

    def matches(self, who: Who) -> bool:
        """Return whether the rule holds for a call."""
        spec = self.spec
        return (
            (not spec.key or who.key in self._ids)
            and (not spec.project or spec.project == who.project)
            and (not spec.route or spec.route == who.route)
            and self._serves(who.model)
        )

    def _serves(self, model: str) -> bool:
        if self._prefix is not None:
            return model.startswith(self._prefix)
        return not self._model or self._model == model


class LimitRule(_Rule):
    """A `LimitSpec` in the units of the bucket: nanoseconds."""

    __slots__ = ("concurrency", "request_ns", "request_room_ns", "token_room_ns", "tokens")

    spec: LimitSpec

    def __init__(self, spec: LimitSpec, ids: frozenset[str]) -> None:
        super().__init__(spec, ids, "limit")
        rate, burst_ns = spec.requests_per_minute, round(spec.burst_s * 1e9)
        self.request_ns = MINUTE_NS // rate if rate else 0
        """Time that a request takes out of the bucket."""
        self.request_room_ns = max(burst_ns - self.request_ns, 0)
        """How far ahead of now the bucket may be before one more request."""
        self.tokens = spec.tokens_per_minute
        self.token_room_ns = burst_ns
        self.concurrency = spec.concurrency


class BudgetRule(_Rule):
    """A `BudgetSpec`, with the bits of its alerts."""

    __slots__ = ("alerts", "amount", "hard", "period", "seeded", "strict")

    spec: BudgetSpec

    def __init__(self, spec: BudgetSpec, ids: frozenset[str]) -> None:
        super().__init__(spec, ids, f"budget {spec.period}")
        self.amount = spec.amount_nusd
        self.period = spec.period
        self.hard = spec.hard
        self.strict = spec.strict
        self.alerts = tuple(
            (1 << bit, share, round(spec.amount_nusd * share))
            for bit, share in enumerate(sorted(spec.alert_at))
        )
        """(bit, share, amount in nano-USD), rising."""
        self.seeded = -1
        """The epoch of the state in which this was found to be seeded; for the backend's use."""


class Claim:
    """One rule applied to one subject. A backend may keep where it stands; the rest never changes."""

    __slots__ = ("base", "end_us", "key", "next_requests", "next_tokens", "rule", "start_us", "subject")

    rule: LimitRule | BudgetRule

    def __init__(self, rule: LimitRule | BudgetRule, subject: str) -> None:
        self.rule = rule
        self.subject = subject
        self.key = number_of(str(rule.ident), subject)
        self.base = -1
        self.start_us = self.end_us = 0
        self.next_requests = self.next_tokens = 0


class LimitClaim(Claim):
    """A claim on a limit."""

    __slots__ = ()
    rule: LimitRule


class BudgetClaim(Claim):
    """A claim on a budget, in its present period."""

    __slots__ = ()
    rule: BudgetRule

    def enter(self, start_us: int, end_us: int) -> None:
        """Go over to a period."""
        self.start_us, self.end_us = start_us, end_us
        self.key = number_of(str(self.rule.ident), self.subject, str(start_us))
        self.base = -1


class Claims(NamedTuple):
    """All that holds for a call."""

    limits: tuple[LimitClaim, ...]
    budgets: tuple[BudgetClaim, ...]

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how long a call is: a limit on requests alone does not ask."""
        return bool(self.budgets) or any(claim.rule.tokens for claim in self.limits)


NOTHING = Claims((), ())


class RuleBook:
    """All rules of a generation."""

    def __init__(
        self, limits: Iterable[LimitSpec], budgets: Iterable[BudgetSpec], keys: Iterable[KeySpec] = ()
    ) -> None:
        """Compile rules.

        Args:
            limits: the limits.
            budgets: the budgets.
            keys: the valid keys: a rule may name one by its name, which several may bear.
        """
        names: dict[str, set[str]] = {}
        for key in keys:
            names.setdefault(key.name, set()).add(key.id)

        def ids(key: str) -> frozenset[str]:
            return frozenset({key, *names.get(key, ())})

        self.limits = tuple(LimitRule(spec, ids(spec.key)) for spec in limits)
        self.budgets = tuple(BudgetRule(spec, ids(spec.key)) for spec in budgets)
        self._per_user = any(rule.per_user for rule in (*self.limits, *self.budgets))
        self._claims: dict[Who, Claims] = {}

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self.limits or self.budgets)

    def claims(self, key: str, project: str, route: str, model: str, user: str) -> Claims:
        """Return what holds for a call; the same object for the same caller, as long as it is remembered."""
        who = Who(key, project, route, model, user if self._per_user else "")
        found = self._claims.get(who)
        if found is None:
            if len(self._claims) >= _KEPT:
                self._claims.clear()
            found = self._claims[who] = self._match(who)
        return found

    def _match(self, who: Who) -> Claims:
        claims = Claims(
            tuple(LimitClaim(rule, rule.subject_of(who)) for rule in self.limits if rule.matches(who)),
            tuple(BudgetClaim(rule, rule.subject_of(who)) for rule in self.budgets if rule.matches(who)),
        )
        return claims if claims.limits or claims.budgets else NOTHING
