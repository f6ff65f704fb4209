"""`trimtab alerts`: rules on how the installation is doing, what they found, and who is told."""

from dataclasses import asdict, dataclass
from typing import Literal

from cyclopts import App, Parameter

from trimtab.cli.options import AsJson, AtMost, Place
from trimtab.cli.reach import admin, quoted, running
from trimtab.cli.terminal import note, write
from trimtab.types import AlertKind

from .said import Rows, listing, read_secret, report, with_times

app = App(name="alerts", help="Rules on how the installation is doing, and the webhooks that are told.")


@app.command(name="list")
def list_alerts(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the rules and how they stand. Exit status 1 where one fires.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    found: Rows = admin(running(place or Place()), "GET", "alerts")["alerts"]
    columns = {
        "name": "name", "state": "state", "kind": "kind", "value": "now", "threshold": "fires at",
        "clear": "ends at", "project": "project", "webhooks": "tells", "owner": "set by", "about": "about",
    }  # fmt: skip
    empty = "No rules. `trimtab alerts set NAME KIND` makes one."
    listing(found, columns, json=json, fluid="about", empty=empty, lines=_lines)
    return int(any(row["state"] == "firing" for row in found))


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """What can be said of a rule; what is left out has its kind's default."""

    threshold: float | None = None
    """Where it fires: a share (0.05), milliseconds, seconds or a count, by its kind."""
    clear: float | None = None
    """Where it ends."""
    window_s: int | None = None
    """How far it looks back, in seconds."""
    hold_s: int = 0
    """For how long it must be past either edge before anything is said, in seconds."""
    min_calls: int = 20
    """Calls in the window below which nothing is judged."""
    project: str = ""
    """Whose calls; everybody's otherwise."""
    webhooks: tuple[str, ...] = ()
    """Webhooks to tell."""
    enabled: bool = True
    """Whether it is looked at."""


@app.command(name="set")
def set_alert(
    name: str,
    kind: AlertKind,
    /,
    rule: RuleOptions | None = None,
    place: Place | None = None,
    *,
    json: AsJson = False,
) -> int:
    """Add a rule, or replace one.

    Args:
        name: Its name.
        kind: What it looks at.
        rule: What can be said of it.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    body = {"kind": kind, **asdict(rule or RuleOptions())}
    done = admin(running(place or Place()), "PUT", f"alerts/{quoted(name)}", body=body)
    return report(done, f"{name} is set.", json=json)


@app.command
def remove(name: str, /, *, place: Place | None = None, json: AsJson = False) -> int:
    """Remove a rule.

    Args:
        name: Its name.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done = admin(running(place or Place()), "DELETE", f"alerts/{quoted(name)}")
    return report(done, f"{name} is removed.", json=json)


@app.command
def history(*, rule: str = "", limit: AtMost = 100, place: Place | None = None, json: AsJson = False) -> int:
    """Show what the rules found, newest first.

    Args:
        rule: One rule only.
        limit: At most so many.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    query = {"rule": rule, "limit": limit}
    rows: Rows = admin(running(place or Place()), "GET", "alerts/events", query=query)["events"]
    columns = {"time": "time", "rule": "rule", "state": "state", "text": "text"}
    return listing(rows, columns, json=json, fluid="text", empty="Nothing has happened.", lines=with_times)


@app.command
def webhooks(place: Place | None = None, *, json: AsJson = False) -> int:
    """List the webhooks; of their URLs only the host is shown.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    rows: Rows = admin(running(place or Place()), "GET", "webhooks")["webhooks"]
    columns = {"name": "name", "url": "url", "format": "format", "signed": "signed", "owner": "set by"}
    empty = "No webhooks. `trimtab alerts webhook NAME` makes one; its URL comes on stdin."
    return listing(rows, columns, json=json, fluid="url", empty=empty)


@app.command
def webhook(
    name: str,
    /,
    *,
    format: Literal["standard", "slack"] | None = None,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Add a webhook, or move one: its URL comes from stdin, for it may be a secret.

    For a new one of `standard`, and for one that is moved, the secret that signs is printed, once.

    Args:
        name: Its name.
        format: What is sent; left out: as it is, or standard for a new one.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    target = running(place or Place())
    body = {"url": read_secret("URL")} | ({"format": format} if format else {})
    done = admin(target, "PUT", f"webhooks/{quoted(name)}", body=body)
    if json or not done["secret"]:
        return report(done, f"{name} is set.", json=json)
    write(str(done["secret"]))
    note(f"{name} is set, and signs with this. Keep it now: it cannot be shown again.")
    return 0


@app.command(name="remove-webhook")
def remove_webhook(name: str, /, *, place: Place | None = None, json: AsJson = False) -> int:
    """Remove a webhook; what waits for it is given up.

    Args:
        name: Its name.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done = admin(running(place or Place()), "DELETE", f"webhooks/{quoted(name)}")
    return report(done, f"{name} is removed.", json=json)


@app.command(name="test")
def try_webhook(name: str, /, *, place: Place | None = None, json: AsJson = False) -> int:
    """Send a test event to a webhook. Exit status 1 where it is not taken.

    Args:
        name: Its name.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    done = admin(running(place or Place()), "POST", f"webhooks/{quoted(name)}/test")
    if done["ok"]:
        report(done, f"{name} took it: {done['status']} within {done['took_ms']} ms.", json=json)
    else:
        report(done, f"{name} did not take it: {done['message']}", json=json)
    return 0 if done["ok"] else 1


@app.command
def deliveries(
    *, webhook: str = "", limit: AtMost = 100, place: Place | None = None, json: AsJson = False
) -> int:
    """Show what was sent to webhooks or is to be, newest first.

    Args:
        webhook: One webhook only.
        limit: At most so many.
        place: Which installation.
        json: Print JSON with stable fields.
    """
    query = {"webhook": webhook, "limit": limit}
    target = running(place or Place())
    rows: Rows = admin(target, "GET", "webhooks/deliveries", query=query)["deliveries"]
    columns = {
        "time": "time", "webhook": "webhook", "state": "state", "tries": "tries", "status": "status",
        "error": "error",
    }  # fmt: skip
    return listing(rows, columns, json=json, fluid="error", empty="Nothing was sent.", lines=_tried)


def _lines(found: Rows) -> Rows:
    return [
        row["rule"]
        | {"state": row["state"], "owner": row["owner"], "about": row["about"]}
        | {field: _shown(row[field], row["unit"]) for field in ("value", "threshold", "clear")}
        for row in found
    ]


def _tried(deliveries: Rows) -> Rows:
    """Return deliveries with the time of their last try; of those that wait for the first, when they were made."""
    return with_times([row | {"at_us": row["tried_us"] or row["created_us"]} for row in deliveries])


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    from trimtab.telemetry.alerts import shown

    return shown(unit, value)  # type: ignore[arg-type]  # the API's words are the table's
