"""`trimtab config`: is the configuration good, and what does it come to."""

import os
from pathlib import Path

from cyclopts import App

from trimtab.config import Config, find_file, flat, load_config, visible
from trimtab.types import ConfigError, SystemClock

from .options import AsJson, AtMost, Place
from .reach import admin, running, running_on
from .terminal import Cell, Column, CommandFailed, note, one_line, show_time, write, write_json, write_table

app = App(name="config", help="Check and show the configuration.")


@app.command
def check(place: Place | None = None, *, json: AsJson = False) -> int:
    """Check the configuration as a start would: exit 0 where it can be used, 1 where it cannot.

    Names every problem with its key, what it holds and the mend. A variable that the file needs must be set here
    too.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    from trimtab.serve import check_config

    place = place or Place()
    try:
        config = load(place)
        check_config(config)
    except ConfigError as error:
        if json:
            write_json({"ok": False, "file": _file(place.config), "error": error.message})
        else:
            note(f"error: {error.message}", "red")
        return 1
    if json:
        write_json({"ok": True, "file": _file(config.source), "error": None})
    else:
        write(one_line(f"{config.source or 'No file, so the defaults'}: good"))
    return 0


def _file(path: Path | None) -> str | None:
    return None if path is None else str(path)


@app.command
def show(place: Place | None = None, *, json: AsJson = False) -> int:
    """Show the configuration in force: file, environment and defaults together, with secrets hidden.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    config = load(place or Place())
    tree = visible(config, os.environ)
    if json:
        write_json(tree)
        return 0
    rows = [(Cell(key, "cyan"), Cell(one_line(value))) for key, value in flat(tree)]
    write_table([Column(title="setting"), Column(title="value", fluid=True)], rows)
    return 0


@app.command
def reload(place: Place | None = None, *, json: AsJson = False) -> int:
    """Have a running Trimtab read its configuration again: exit 0 once the workers obey it, 1 where it is refused.

    The file is checked first, and a bad one changes nothing. What changed is printed, and each setting that takes a
    restart.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    place = place or Place()
    try:
        # A file that cannot be used does not lead to its folder; a folder that is named is asked all the same, so
        # that the refusal stands in its history.
        found = running(place) if place.data is None else running_on(place.data)
        published = admin(found, "POST", "reload")
    except ConfigError as error:
        raise CommandFailed(error.message, mend="nothing was reloaded; mend the file", exit_code=1) from error
    except CommandFailed as error:
        if "(config_invalid)" not in error.message:
            raise
        raise CommandFailed(
            error.message, mend="what was in force stays; mend the file, then reload again", exit_code=1
        ) from error
    latest = admin(found, "GET", "config/readings", query={"limit": 1})["readings"][0]
    if json:
        write_json({"published": published, "reading": latest})
        return 0
    for change in latest["changes"]:
        write(_change(change))
    for said in published["notes"]:
        note(one_line(said), "yellow")
    if published["waiting"]:
        note(f"{', '.join(published['waiting'])}: not there yet; they obey as soon as they can.", "yellow")
    what = "" if latest["changes"] else "; nothing in it has changed"
    write(f"Generation {published['generation']} is in force{what}.")
    return 0


@app.command
def history(*, limit: AtMost = 20, place: Place | None = None, json: AsJson = False) -> int:
    """Show when the configuration was read, who asked, and what changed; those that were refused too.

    Args:
        limit: At most so many readings, newest first.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    readings = admin(running(place or Place()), "GET", "config/readings", query={"limit": limit})["readings"]
    if json:
        write_json(readings)
        return 0
    now_us = SystemClock().now_us()
    for reading in readings:
        outcome = reading["sha256"][:12] if reading["taken"] else "refused"
        write(
            f"{show_time(int(reading['at_us']), now_us)}  {one_line(reading['actor'])}  {reading['cause']}  {outcome}"
        )
        for change in reading["changes"]:
            write(f"  {_change(change)}")
        if reading["error"]:
            write(f"  {one_line(reading['error'])}")
    if not readings:
        note("It was read at the start only.")
    return 0


def _change(change: dict[str, str]) -> str:
    return one_line(f"{change['name']}: {change['before'] or '–'} → {change['after'] or '–'}")


def load(place: Place) -> Config:
    """Return the configuration that a command's options name. Reads the file and the environment.

    Raises:
        ConfigError: it cannot be used.
    """
    return load_config(find_file(place.config), env=os.environ, data_dir=place.data)
