"""`trimtab users`: who signs in to the console and the admin API."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import admin, quoted, running

from .said import Rows, listing, read_secret, report

RoleName = Literal["viewer", "editor", "admin"]

app = App(name="users", help="Create, list, change and remove those who sign in.")


@app.command
def create(
    name: str, /, *, role: RoleName = "viewer", place: Place | None = None, json: AsJson = False
) -> int:
    """Make a user. The password, 12 characters or more, is asked for or read from stdin.

    Args:
        name: Letters, digits, `.`, `-`, `_` or `@`.
        role: `viewer` looks, `editor` changes all but users and secrets, `admin` changes everything.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    body = {"name": name, "role": role, "password": read_secret("password", twice=True)}
    return report(admin(target, "POST", "users", body=body), f"{name} is created as {role}.", json=json)


@app.command(name="list")
def list_users(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the users.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    rows: Rows = admin(running(place or Place()), "GET", "users")["users"]
    columns = {"name": "name", "role": "role", "disabled": "disabled"}
    empty = (
        "No users. `trimtab users create NAME` makes one; the token that `trimtab up` prints signs in too."
    )
    return listing(rows, columns, json=json, fluid="name", empty=empty)


@app.command
def change(
    name: str,
    /,
    *,
    role: RoleName | None = None,
    password: Annotated[bool, Parameter(negative=())] = False,
    disable: Annotated[bool, Parameter(negative="--enable")] | None = None,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Change a user: the role holds at once; a new password, or disabling, ends all sign-ins.

    Args:
        name: The user's name.
        role: The new role.
        password: Ask for a new password, or read it from stdin.
        disable: Keep from signing in, or allow it again.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    body: dict[str, object] = {}
    if role is not None:
        body["role"] = role
    if disable is not None:
        body["disabled"] = disable
    if password:
        body["password"] = read_secret("new password", twice=True)
    return report(
        admin(target, "PATCH", f"users/{quoted(name)}", body=body), f"{name} is changed.", json=json
    )


@app.command
def remove(name: str, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Remove a user, and end their sign-ins.

    Args:
        name: The user's name.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done = admin(running(place or Place()), "DELETE", f"users/{quoted(name)}")
    return report(done, f"{name} is removed.", json=json)
