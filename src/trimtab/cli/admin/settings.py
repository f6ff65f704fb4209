"""`trimtab settings`: what may change while Trimtab runs."""

from cyclopts import App

from trimtab.cli.options import AsJson, AtMost, Place
from trimtab.cli.reach import admin, quoted, running

from .said import Rows, listing, report, with_times

app = App(name="settings", help="List and change settings while Trimtab runs.")


@app.command(name="list")
def list_settings(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the settings that may change at run time; those that the configuration file sets are read-only.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    rows: Rows = admin(running(place or Place()), "GET", "settings")["settings"]
    columns = {"name": "name", "value": "value", "default": "default", "owner": "set by", "about": "about"}
    return listing(rows, columns, json=json, fluid="about")


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
def history(*, limit: AtMost = 100, place: Place | None = None, json: AsJson = False) -> int:
    """Show who changed which setting, newest first.

    Args:
        limit: At most so many changes.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    rows: Rows = admin(target, "GET", "settings/changes", query={"limit": limit})["changes"]
    columns = {"time": "time", "actor": "who", "name": "name", "before": "before", "after": "after"}
    empty = "No setting was changed."
    return listing(rows, columns, json=json, fluid="after", empty=empty, lines=with_times)
