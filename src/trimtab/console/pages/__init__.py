"""The pages: one file a noun, each with its own rows of the table of routes.

Owns what stands on a page, and what a form does.
Promises: a page asks for bounded work only (sums from rollups, lists by key); a form answers with a redirect.
Never checks who may open it: the table says that, and is looked at before.
Entry: `ROUTES`; a new page is a file with `ROUTES` of its own, a line here, and a line in `navigation`.
"""

from trimtab.console import admin
from trimtab.console.routes import Route
from trimtab.console.site import MenuGroup

from . import call, calls, home, preferences, sessions, sign_in, spend, traces

ROUTES: tuple[Route, ...] = (
    *sign_in.ROUTES,
    *preferences.ROUTES,
    *home.ROUTES,
    *calls.ROUTES,
    *call.ROUTES,
    *sessions.ROUTES,
    *traces.ROUTES,
    *spend.ROUTES,
    *admin.ROUTES,
)
"""Every page and action of the console."""

_MENU: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "nav.watch",
        (
            ("nav.home", "/"),
            ("nav.calls", "/calls"),
            ("nav.sessions", "/sessions"),
            ("nav.traces", "/traces"),
            ("nav.spend", "/spend"),
            ("nav.alerts", "/alerts"),
        ),
    ),
    (
        "nav.configure",
        (
            ("nav.models", "/models"),
            ("nav.providers", "/providers"),
            ("nav.keys", "/keys"),
            ("nav.projects", "/projects"),
            ("nav.limits", "/limits"),
            ("nav.budgets", "/budgets"),
            ("nav.settings", "/settings"),
        ),
    ),
    (
        "nav.administer",
        (
            ("nav.users", "/users"),
            ("nav.audit", "/audit"),
            ("nav.privacy", "/privacy"),
            ("nav.health", "/health"),
        ),
    ),
)


def navigation() -> tuple[MenuGroup, ...]:
    """Return the menu: the groups whose pages are there, with the role that each page takes."""
    least = {route.path: route.role for route in ROUTES if route.method == "GET"}
    shown = (
        (group, tuple((key, path, least[path]) for key, path in entries if path in least))
        for group, entries in _MENU
    )
    return tuple((group, entries) for group, entries in shown if entries)


__all__ = ["ROUTES", "navigation"]
