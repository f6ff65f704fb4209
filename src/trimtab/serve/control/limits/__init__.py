"""Limits and budgets in the control process: the rules of file and store, and what the limiter is told of the ledger.

Entry: `Rules`, a part of `Objects`; `Accounts.keep` while the process lives.
"""

from .accounts import Accounts
from .rules import Rules

__all__ = ["Accounts", "Rules"]
