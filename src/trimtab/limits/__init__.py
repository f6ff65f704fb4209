"""Limits and budgets, shared by all processes that make calls: who is let in, and what it will have cost.

Owns the rules compiled for matching, the port that keeps their state, and its one backend: a memory-mapped file in
the data folder (`mapped`).
Promises: a budget is charged an upper bound before a provider is asked, and the true cost after; whoever dies in
between leaves the bound as spent; what a call costs is never forgotten, by kill -9 at any instruction neither.
Never asks a provider, reads a price, or knows HTTP.
Entry: `RuleBook.claims`, then `Limiter.admit` and `Limiter.settle`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .headers import grant_headers, rate_headers
from .period import period_of
from .ports import Demand, Grant, Limiter, LimitState, Use
from .rules import BudgetRule, Claim, Claims, LimitRule, RuleBook, Who

if TYPE_CHECKING:
    from .mapped import MappedLimiter, forget

__all__ = [
    "BudgetRule",
    "Claim",
    "Claims",
    "Demand",
    "Grant",
    "LimitRule",
    "LimitState",
    "Limiter",
    "MappedLimiter",
    "RuleBook",
    "Use",
    "Who",
    "forget",
    "grant_headers",
    "period_of",
    "rate_headers",
]


def __getattr__(name: str) -> object:
    """Load the backend where it is asked for, and not before."""
    if name not in ("MappedLimiter", "forget"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".mapped", __name__), name)
