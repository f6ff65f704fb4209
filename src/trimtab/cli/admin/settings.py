"""`trimtab settings`: what may change while Trimtab runs."""

from typing import Any

from cyclopts import App

from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import admin, quoted, running
from trimtab.cli.terminal import note, write_json
from trimtab.types import SystemClock

from .said import report, table
from .times import with_times

app = App(name="settings", help="List and change settings while Trimtab runs.")


@app.command(name="list")
def list_settings(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the settings that may change at run time; those that the configuration file sets are read-only.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    rows: list[dict[str, Any]] = admin(running(place or Place()), "GET", "settings")["settings"]
    if json:
        write_json(rows)
    else:
        columns = {
            "name": "name",
            "value": "value",
            "default": "default",
            "owner": "set by",
            "about": "about",
        }
        table(rows, columns, fluid="about")
    return 0


@app.command(name="set")
def set_setting(name: str, value: str, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Change a setting; every worker obeys it once this returns.

    Args:
        name: As in the configuration file: `data.payload`.
        value: The new value; empty (`""`): back to the default.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done = admin(running(place or Place()), "PUT", f"settings/{quoted(name)}", body={"value": value})
    text = f"{name} is {value!r} now." if value else f"{name} is back to its default."
    return report(done, text, json=json)


@app.command
def history(*, limit: int = 100, place: Place | None = None, json: AsJson = False) -> int:
    """Show who changed which setting, newest first.

    Args:
        limit: At most so many changes.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    rows: list[dict[str, Any]] = admin(target, "GET", "settings/changes", query={"limit": limit})["changes"]
    if json:
        write_json(rows)
    elif rows:
        columns = {"time": "time", "actor": "who", "name": "name", "before": "before", "after": "after"}
        table(with_times(rows, SystemClock().now_us()), columns, fluid="after")
    else:
        note("No setting was changed.")
    return 0
