"""`trimtab audit`: who did what, or tried."""

from typing import Annotated, Any

from cyclopts import Parameter, validators

from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import admin, running
from trimtab.cli.terminal import json_text

from .said import Rows, listing, with_times

_PAGE = 1000
"""Entries in one answer of the admin API at most."""


def audit(
    *,
    actor: str = "",
    action: str = "",
    object: str = "",
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 100,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Show the audit log, newest first: every change, every sign-in, and every attempt that was refused.

    Args:
        actor: Only by this user; `admin-token` is who holds the installation's token.
        action: Only this action, such as `key.create`, or `key.` for all of a noun.
        object: Only what was done to this.
        limit: At most so many entries.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    rows: Rows = []
    fields: dict[str, Any] = {"actor": actor, "action": action, "object": object}
    while len(rows) < limit:
        fields["limit"] = min(_PAGE, limit - len(rows))
        found = admin(target, "GET", "audit", query=fields)
        rows += found["entries"]
        if not found["before"]:
            break
        fields["before"] = found["before"]
    columns = {
        "time": "time", "actor": "who", "action": "action", "object": "of", "outcome": "outcome", "detail": "detail",
    }  # fmt: skip
    return listing(rows, columns, json=json, fluid="detail", empty="No entries.", lines=_lines)


def _lines(rows: Rows) -> Rows:
    return with_times([row | {"detail": json_text(row["detail"]) if row["detail"] else None} for row in rows])
