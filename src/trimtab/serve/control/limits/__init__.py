"""Limits and budgets in the control process: the rules of file and store, and what the limiter is told of the ledger.

Entry: `Accounts.keep` while the process lives; `rules.Rules`, a part of `Objects`, which stands on the room that holds
the accounts.
"""

from .accounts import Accounts

__all__ = ["Accounts"]
