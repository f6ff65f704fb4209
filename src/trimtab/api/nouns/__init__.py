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
    traffic,
    upkeep,
    users,
)
from .calls import CallRow, call_query, call_row
from .models import model_rows

__all__ = ["ROUTES", "CallRow", "call_query", "call_row", "model_rows"]

ROUTES = (
    *machine.ROUTES,
    *logins.ROUTES,
    *keys.ROUTES,
    *projects.ROUTES,
    *providers.ROUTES,
    *settings.ROUTES,
    *users.ROUTES,
    *calls.ROUTES,
    *traffic.ROUTES,
    *spend.ROUTES,
    *models.ROUTES,
    *snapshot.ROUTES,
    *upkeep.ROUTES,
)
"""Every route of the API but the document that describes them."""
