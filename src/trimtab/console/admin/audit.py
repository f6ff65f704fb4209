"""The audit log: who did what, or tried to. For admins."""

from typing import Any

from starlette.responses import Response

from trimtab.console.routes import Route
from trimtab.console.visit import Visit

PAGE = 50
"""Entries a page."""

FILTERS = ("actor", "action", "object")

NOUNS = (
    "key.",
    "project.",
    "provider.",
    "setting.",
    "user.",
    "session.",
    "call.",
    "feedback.",
    "view.",
    "config.",
    "backup.",
    "console.",
)
"""Beginnings of actions that the filter offers; any other can be typed."""


async def show(visit: Visit) -> Response:
    """Return a page of entries, newest first; `before` is the last entry of the page before."""
    wanted = {name: visit.query.get(name, "")[:200] for name in FILTERS}
    before = visit.query.get("before", "")
    found = await visit.control.people.audit(
        actor=wanted["actor"],
        action=wanted["action"],
        object=wanted["object"],
        before=before,
        limit=PAGE + 1,
    )
    rows = [(entry, visit.action(entry.action), changes(entry.detail)) for entry in found[:PAGE]]
    older = visit.link("/audit", before=found[PAGE - 1].id, **wanted) if len(found) > PAGE else ""
    return await visit.page(
        "audit.html",
        title=visit.t("nav.audit"),
        rows=rows,
        wanted=wanted,
        before=before,
        older=older,
        nouns=NOUNS,
    )


def changes(detail: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return an entry's detail as (field, before, after); what only describes has no before.

    >>> changes({"role": ["viewer", "editor"], "project": "web"})
    [('role', 'viewer', 'editor'), ('project', '', 'web')]
    """
    rows: list[tuple[str, str, str]] = []
    for name, value in detail.items():
        if value in ("", None):
            continue
        before, after = value if isinstance(value, list | tuple) and len(value) == 2 else ("", value)
        rows.append((name, _text(before), _text(after)))
    return rows


def _text(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


ROUTES = (Route("GET", "/audit", show, "admin"),)
