"""Alerts: rules over what is stored and counted, evaluated beside everything else, and told to webhooks.

Owns the table of kinds, the judgement with its hysteresis, the texts, the signature, and the sending.
Promises: a value at the edge of a threshold says nothing new; too few calls judge nothing; a webhook is tried again
until it takes an event or is given up, each time under the same id; no redirect is followed, and a webhook that was
added at run time reaches no private address.
Never reads a store or a file itself: it is given `Facts`.
Entry: `Judge.look`, `Sender.send`.
"""

from .facts import Breakers, Budgets, BudgetShare, Facts, NoBreakers, NoBudgets
from .judge import Judge, Standing, clear_of, threshold_of, window_of
from .kinds import KINDS, Kind, Reading, shown
from .payload import event_body, new_secret, signed_headers
from .sending import Addressed, Outcome, Sender, next_try_us, shown_url, url_problem

__all__ = [
    "KINDS",
    "Addressed",
    "Breakers",
    "BudgetShare",
    "Budgets",
    "Facts",
    "Judge",
    "Kind",
    "NoBreakers",
    "NoBudgets",
    "Outcome",
    "Reading",
    "Sender",
    "Standing",
    "clear_of",
    "event_body",
    "new_secret",
    "next_try_us",
    "shown",
    "shown_url",
    "signed_headers",
    "threshold_of",
    "url_problem",
    "window_of",
]
