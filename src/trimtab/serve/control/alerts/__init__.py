"""Alerts in the control process: rules and webhooks of file and store, the look every few seconds, the sending.

Entry: `AlertDesk`, the part of `api.Control`; `AlertDesk.run` while the process lives.
"""

from .desk import AlertDesk
from .sources import KeptBudgets, SeenBreakers

__all__ = ["AlertDesk", "KeptBudgets", "SeenBreakers"]
