"""One file for each noun of the API; `ROUTES` is all of them."""

from . import (
    calls,
    keys,
    logins,
    machine,
    models,
    projects,
    providers,
    settings,
    snapshot,
    spend,
    traces,
    traffic,
    upkeep,
    users,
)
from .calls import CallRow, call_query, call_row
from .models import model_rows
from .rules import alerts, budgets, limits
from .traces import is_trace_id, trace_reply

__all__ = ["ROUTES", "CallRow", "call_query", "call_row", "is_trace_id", "model_rows", "trace_reply"]

ROUTES = (
    *machine.ROUTES,
    *logins.ROUTES,
    *keys.ROUTES,
    *projects.ROUTES,
    *providers.ROUTES,
    *limits.ROUTES,
    *budgets.ROUTES,
    *settings.ROUTES,
    *users.ROUTES,
    *calls.ROUTES,
    *traces.ROUTES,
    *traffic.ROUTES,
    *spend.ROUTES,
    *models.ROUTES,
    *snapshot.ROUTES,
    *alerts.ROUTES,
    *upkeep.ROUTES,
)
"""Every route of the API but the document that describes them."""
