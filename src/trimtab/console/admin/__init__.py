"""The pages of what is configured and administered: one file a noun, each with its rows of the table of routes.

Owns models, providers, keys, projects, users, one's own account, settings, alerts, limits, budgets, the audit log,
health and privacy.
Promises: what is wrong with a form is said at its field, with what was typed kept, secrets aside; a form that is
sent twice does its work once; what is gone for good takes a name typed by hand; all works without scripts.
Never shows a secret, but for a new key once, in the answer to the form that made it.
Entry: `ROUTES`.
"""

from trimtab.console.routes import Route

from . import (
    account,
    audit,
    health,
    keys,
    models,
    privacy,
    projects,
    providers,
    readings,
    settings,
    users,
)
from .rules import alerts, budgets, limits

ROUTES: tuple[Route, ...] = (
    *models.ROUTES,
    *providers.ROUTES,
    *keys.ROUTES,
    *projects.ROUTES,
    *limits.ROUTES,
    *budgets.ROUTES,
    *users.ROUTES,
    *settings.ROUTES,
    *alerts.ROUTES,
    *account.ROUTES,
    *readings.ROUTES,
    *audit.ROUTES,
    *health.ROUTES,
    *privacy.ROUTES,
)
"""Every page and action of this room."""

__all__ = ["ROUTES"]
