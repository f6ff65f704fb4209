"""`trimtab audit`: who did what, or tried."""

from typing import Any

from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import admin, running
from trimtab.cli.terminal import json_text, note, write_json
from trimtab.types import SystemClock

from .said import table
from .times import with_times

_PAGE = 1000
"""Entries in one answer of the admin API at most."""


def audit(
    *,
    actor: str = "",
    action: str = "",
    object: str = "",
    limit: int = 100,
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
    rows: list[dict[str, Any]] = []
    fields: dict[str, Any] = {"actor": actor, "action": action, "object": object}
    while len(rows) < limit:
        fields["limit"] = min(_PAGE, limit - len(rows))
        found = admin(target, "GET", "audit", query=fields)
        rows += found["entries"]
        if not found["before"]:
            break
        fields["before"] = found["before"]
    if json:
        write_json(rows)
        return 0
    if not rows:
        note("No entries.")
        return 0
    for row in rows:
        row["detail"] = json_text(row["detail"]) if row["detail"] else None
    columns = {"time": "time", "actor": "who", "action": "action", "object": "of", "outcome": "outcome"}
    table(with_times(rows, SystemClock().now_us()), columns | {"detail": "detail"}, fluid="detail")
    return 0
