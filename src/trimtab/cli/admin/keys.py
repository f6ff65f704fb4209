"""`trimtab keys`: what applications hold instead of a provider's key."""

from typing import Any, Literal

from cyclopts import App

from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import admin, quoted, running
from trimtab.cli.terminal import Cell, Column, note, one_line, show_time, write, write_json, write_table
from trimtab.types import SystemClock

app = App(name="keys", help="Create, list and revoke the keys that applications hold.")


@app.command
def create(
    name: str = "",
    /,
    *,
    project: str = "default",
    payload: Literal["full", "masked", "hash", "none"] | None = None,
    cache_ttl_s: float | None = None,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Create a key and print it. It is shown this once; only its SHA-256 is kept.

    Args:
        name: What it is for, so that you know it again.
        project: Project that its calls belong to.
        payload: What is kept of its requests and answers (`masked` needs guards, which are not there yet).
        cache_ttl_s: Seconds that a reply is given again to it for the same request; 0: never. Left out: as the
            route says.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    fields: dict[str, Any] = {"name": name, "project": project} | ({"payload": payload} if payload else {})
    if cache_ttl_s is not None:
        fields["cache_ttl_s"] = cache_ttl_s
    made: dict[str, Any] = admin(running(place or Place()), "POST", "keys", body=fields)
    if json:
        write_json(made)
        return 0
    write(str(made["key"]))
    note(f"This is {made['id']}. Keep it now: it is not stored and cannot be shown again.")
    return 0


@app.command(name="list")
def list_keys(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the keys that are valid.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    keys: list[dict[str, Any]] = admin(running(place or Place()), "GET", "keys")["keys"]
    if json:
        write_json(keys)
        return 0
    if not keys:
        note("No keys. `trimtab keys create NAME` makes one; callers on this machine may not need any.")
        return 0
    now_us = SystemClock().now_us()
    rows: list[list[Cell | str]] = [
        [
            Cell(one_line(str(key["id"])), "dim"),
            one_line(str(key.get("name") or "-")),
            one_line(str(key.get("project") or "default")),
            one_line(str(key.get("payload") or "-")),
            show_time(int(key.get("created_us") or 0), now_us),
        ]
        for key in keys
    ]
    titles = ("id", "name", "project", "payload", "created")
    write_table([Column(title=title, fluid=title == "name") for title in titles], rows)
    return 0


@app.command
def revoke(key_id: str, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Revoke a key: every worker refuses it once this returns.

    Args:
        key_id: Its id, as `trimtab keys list` shows it.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done = admin(running(place or Place()), "DELETE", f"keys/{quoted(key_id)}")
    if json:
        write_json(done)
    else:
        write(one_line(f"{key_id} is revoked."))
    return 0
