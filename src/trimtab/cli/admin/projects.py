"""`trimtab projects`: the tenants."""

from typing import Literal

from cyclopts import App

from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import admin, quoted, running
from trimtab.cli.terminal import CommandFailed

from .said import Rows, listing, report

app = App(name="projects", help="Create, list, change and remove projects.")


@app.command(name="list")
def list_projects(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the projects.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    projects: Rows = admin(running(place or Place()), "GET", "projects")["projects"]
    columns = {"name": "name", "payload": "payload", "retention_days": "days kept", "title": "title"}
    return listing(projects, columns, json=json, fluid="title", lines=_lines)


@app.command(name="set")
def set_project(
    name: str,
    /,
    *,
    payload: Literal["full", "hash", "none"] | None = None,
    title: str | None = None,
    retention_days: int | None = None,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Create a project, or change what is given of one.

    Args:
        name: Its name.
        payload: What is kept of its requests and answers, where a key says nothing else.
        title: What people call it.
        retention_days: Days that its calls are kept; 0: as long as the rest.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    there = {row["name"]: row for row in admin(target, "GET", "projects")["projects"]}.get(name, {})
    given = {"payload": payload, "title": title, "retention_days": retention_days}
    fields = {field: there[field] for field in given if field in there}
    fields |= {field: value for field, value in given.items() if value is not None}
    done = admin(target, "PUT", f"projects/{quoted(name)}", body=fields)
    return report(done, f"{name} is {'changed' if there else 'created'}.", json=json)


@app.command
def remove(name: str, /, *, yes: bool = False, place: Place | None = None, json: AsJson = False) -> int:
    """Remove a project with its keys, and erase its calls for good.

    Args:
        name: Its name.
        yes: Do so; without it, only say what would be done.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    if not yes:
        raise CommandFailed(
            f"this would remove {name!r} with its keys, and erase its calls for good",
            mend="say --yes to do so",
            exit_code=2,
        )
    done = admin(target, "DELETE", f"projects/{quoted(name)}", timeout_s=None)
    return report(done, f"{name} is removed.", json=json)


def _lines(projects: Rows) -> Rows:
    return [row | {"retention_days": row["retention_days"] or None} for row in projects]
