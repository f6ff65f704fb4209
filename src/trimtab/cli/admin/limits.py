"""`trimtab limits`: how fast calls may come; those of the configuration file can be listed only."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from trimtab.cli.options import AsJson, Matching, Place
from trimtab.cli.reach import admin, quoted, running

from .said import Rows, listing, report

app = App(name="limits", help="List, set and remove limits on requests, tokens and calls at once.")


@app.command(name="list")
def list_limits(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the limits and how they stand now.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    rows: Rows = admin(running(place or Place()), "GET", "limits")["limits"]
    columns = {
        "name": "name",
        "owner": "owner",
        "for": "for",
        "per": "per",
        "most": "at most a minute",
        "now": "now",
    }
    empty = "No limits. `trimtab limits set NAME --requests 600` adds one; so does trimtab.toml."
    return listing(
        rows, columns, json=json, fluid="now", empty=empty, lines=lambda rows: [_row(row) for row in rows]
    )


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a limit allows."""

    requests: Annotated[int, Parameter(help="Requests a minute.")] = 0
    tokens: Annotated[int, Parameter(help="Tokens a minute, input and output together.")] = 0
    concurrency: Annotated[int, Parameter(help="Calls at once.")] = 0
    burst: Annotated[float, Parameter(help="How many seconds' worth may come at once after a pause.")] = 0.5


@app.command(name="set")
def set_limit(
    name: str,
    /,
    figures: Figures | None = None,
    matching: Matching | None = None,
    *,
    per: Literal["rule", "key", "project", "user", "model"] = "rule",
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Add a limit, or replace one; requests, tokens or concurrency is needed.

    Args:
        name: Its name.
        figures: What it allows.
        matching: Which calls it holds for.
        per: What has a bucket of its own.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    allowed = figures or Figures()
    fields = {
        "requests_per_minute": allowed.requests,
        "tokens_per_minute": allowed.tokens,
        "concurrency": allowed.concurrency,
        "burst_s": allowed.burst,
        "per": per,
        **(matching or Matching()).fields(),
    }
    done = admin(running(place or Place()), "PUT", f"limits/{quoted(name)}", body=fields)
    return report(done, f"{name} is in force.", json=json)


@app.command
def remove(name: str, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Remove a limit that was added at run time.

    Args:
        name: Its name.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done = admin(running(place or Place()), "DELETE", f"limits/{quoted(name)}")
    return report(done, f"{name} is removed.", json=json)


def matched(spec: dict[str, Any]) -> str:
    """Return which calls a rule holds for, in words."""
    named = [f"{field} {spec[field]}" for field in ("key", "project", "route", "model") if spec.get(field)]
    return ", ".join(named) or "every call"


def _row(row: dict[str, Any]) -> dict[str, Any]:
    spec = row["spec"]
    figures = (
        (f"{spec.get('requests_per_minute', 0):,} requests", spec.get("requests_per_minute")),
        (f"{spec.get('tokens_per_minute', 0):,} tokens", spec.get("tokens_per_minute")),
        (f"{spec.get('concurrency', 0):,} at once", spec.get("concurrency")),
    )
    uses = [f"{use['subject'] or 'all'}: {use['under_way']} under way" for use in row["uses"][:3]]
    return {
        "name": spec["name"],
        "owner": row["owner"],
        "for": matched(spec),
        "per": spec.get("per", "rule"),
        "most": ", ".join(text for text, given in figures if given),
        "now": ", ".join(uses),
    }
