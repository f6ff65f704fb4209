"""Asking providers for one call until one answers: targets, retries, fallbacks, hedges, the degraded model.

Promises: what failed is recorded as what it was; before the first content event another may take over unseen; whatever
ends an attempt, its socket is closed first.
Entry: `Attempts.run`; the answer is a `Try`.
"""

from .attempt import Try
from .walk import Attempts

__all__ = ["Attempts", "Try"]
