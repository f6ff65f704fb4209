"""`trimtab providers`: who serves models; those of the configuration file can be listed and tested only."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from trimtab.cli.options import AsJson, Place
from trimtab.cli.reach import admin, quoted, running
from trimtab.cli.terminal import one_line, write, write_json

from .said import Rows, listing, read_secret, report, show

app = App(name="providers", help="List, add, test and remove providers; rotate their keys.")


@app.command(name="list")
def list_providers(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the providers, of the file and those added at run time.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    rows: Rows = admin(running(place or Place()), "GET", "providers")["providers"]
    columns = {"name": "name", "owner": "owner", "kind": "kind", "key": "key", "base_url": "base URL"}
    empty = "No providers. `trimtab providers add NAME` adds one; so does trimtab.toml."
    return listing(rows, columns, json=json, fluid="base_url", empty=empty, lines=_lines)


@app.command
def add(
    name: str,
    /,
    *,
    base_url: str = "",
    kind: str = "openai",
    model: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    no_key: Annotated[bool, Parameter(negative=())] = False,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Add a provider. Its key is asked for, or read from stdin; it is never an argument.

    The key is sealed for this name and address, and shown to nobody again. `trimtab providers add openai < key.txt`

    Args:
        name: The part before the slash in `provider/model`.
        base_url: Base URL, `/v1` included; else the kind's own.
        kind: Its protocol.
        model: A model it is known to serve; may be repeated. None: any name is passed on.
        no_key: It needs no key; nothing is asked for.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    api_key = "" if no_key else read_secret("API key")
    fields = {"base_url": base_url, "kind": kind, "models": list(model), "api_key": api_key}
    done = admin(target, "PUT", f"providers/{quoted(name)}", body=fields)
    return report(done, f"{name} is added. Try it: trimtab providers test {name}", json=json)


@app.command(name="test")
def try_provider(name: str, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Ask a provider for its models: exit 0 where it can be reached and takes the key, else 1.

    Args:
        name: Its name.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    tested: dict[str, Any] = admin(running(place or Place()), "POST", f"providers/{quoted(name)}/test")
    if json:
        write_json(tested)
    elif tested["ok"]:
        write(one_line(f"{name} answers in {tested['took_ms']} ms; models: {show(tested['models'])}"))
    else:
        write(one_line(f"{name} fails: {tested['message']} ({tested['error_code']})"))
    return 0 if tested["ok"] else 1


@app.command
def rotate(name: str, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Give a provider a new key, asked for or read from stdin; calls use it once this returns.

    Args:
        name: Its name.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    body = {"api_key": read_secret("new API key")}
    done = admin(target, "PUT", f"providers/{quoted(name)}/key", body=body)
    return report(done, f"{name} has a new key.", json=json)


@app.command
def remove(name: str, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Remove a provider that was added at run time.

    Args:
        name: Its name.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done = admin(running(place or Place()), "DELETE", f"providers/{quoted(name)}")
    return report(done, f"{name} is removed.", json=json)


def _lines(rows: Rows) -> Rows:
    return [row | {"key": (row["key_hint"] or "set") if row["key_set"] else None} for row in rows]
