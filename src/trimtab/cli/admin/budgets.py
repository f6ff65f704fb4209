"""`trimtab budgets`: what calls may cost; those of the configuration file can be listed only."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from trimtab.cli.options import AsJson, Matching, Place
from trimtab.cli.reach import admin, quoted, running
from trimtab.types import format_usd

from .limits import matched
from .said import Rows, listing, report

app = App(name="budgets", help="List, set and remove budgets.")


@app.command(name="list")
def list_budgets(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the budgets: spent, held for calls under way, and left, in the present period.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    rows: Rows = admin(running(place or Place()), "GET", "budgets")["budgets"]
    columns = {
        "name": "name", "owner": "owner", "for": "for", "per": "per", "amount": "amount", "subject": "whose",
        "spent": "spent", "held": "held", "left": "left",
    }  # fmt: skip
    empty = "No budgets. `trimtab budgets set NAME --amount 25` adds one; so does trimtab.toml."
    return listing(rows, columns, json=json, fluid="for", empty=empty, lines=_lines)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a budget allows, and what becomes of the rest."""

    period: Annotated[
        Literal["hour", "day", "week", "month", "total"],
        Parameter(help="Of the UTC calendar; `total` never ends."),
    ] = "month"
    per: Annotated[
        Literal["rule", "key", "project", "user", "route"], Parameter(help="What has an amount of its own.")
    ] = "rule"
    soft: Annotated[bool, Parameter(negative=(), help="Only note what is beyond it, and refuse nothing.")] = (
        False
    )
    strict: Annotated[bool, Parameter(negative=(), help="Never exceed it, not by the last call either.")] = (
        False
    )
    unpriced: Annotated[
        Literal["allow", "refuse"],
        Parameter(help="What becomes of calls to models without a known price."),
    ] = "allow"


@app.command(name="set")
def set_budget(
    name: str,
    /,
    terms: Terms | None = None,
    matching: Matching | None = None,
    *,
    amount: float,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Add a budget, or replace one. What was spent since its period began counts.

    Args:
        name: Its name.
        terms: What it allows.
        matching: Which calls it holds for.
        amount: The amount, in USD.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    agreed = terms or Terms()
    fields = {
        "amount_usd": amount,
        "period": agreed.period,
        "per": agreed.per,
        "hard": not agreed.soft,
        "strict": agreed.strict,
        "unpriced": agreed.unpriced,
        **(matching or Matching()).fields(),
    }
    done = admin(running(place or Place()), "PUT", f"budgets/{quoted(name)}", body=fields)
    return report(done, f"{name} is in force.", json=json)


@app.command
def remove(name: str, /, place: Place | None = None, *, json: AsJson = False) -> int:
    """Remove a budget that was added at run time.

    Args:
        name: Its name.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done = admin(running(place or Place()), "DELETE", f"budgets/{quoted(name)}")
    return report(done, f"{name} is removed.", json=json)


def _lines(rows: Rows) -> Rows:
    """Return the lines of every budget: one for each subject."""
    return [line for row in rows for line in _lines_of(row)]


def _lines_of(row: dict[str, Any]) -> Rows:
    spec = row["spec"]
    kind = "" if spec.get("hard", True) else ", soft"
    first = {
        "name": spec["name"],
        "owner": row["owner"],
        "for": matched(spec),
        "per": spec.get("per", "rule"),
        "amount": f"{format_usd(spec['amount_nusd'])} / {spec.get('period', 'month')}{kind}",
    }
    uses = row["uses"][:10] or [
        {"subject": "", "spent_nusd": 0, "reserved_nusd": 0, "remaining_nusd": spec["amount_nusd"]}
    ]
    lines = [
        {
            "subject": use["subject"],
            "spent": format_usd(use["spent_nusd"]),
            "held": format_usd(use["reserved_nusd"]) if use["reserved_nusd"] else "",
            "left": format_usd(use["remaining_nusd"]),
        }
        for use in uses
    ]
    return [first | lines[0], *lines[1:]]
