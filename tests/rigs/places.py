"""Every page of the console as an address, for walks: a route without one fails them."""

from rigs.fake_control import FakeControl
from rigs.sample_traces import AGENT
from trimtab.console.pages import ROUTES

PARTS = {
    "/calls.csv",
    "/calls/rows",
    "/calls/{id}.json",
    "/traces/{id}.json",
    "/home/series.json",
    "/home/waiting",
    "/privacy/-/export",
    "/spend.csv",
    "/spend/figures",
    "/spend/series.json",
}
"""Routes that are no pages: data, downloads, and what stands inside a page."""

MORE = (
    "/?range=7d",
    "/calls?live=1",
    "/calls?state=error&text=invoice",
    "/keys?project=shop",
    "/spend?by=user&range=7d",
    "/models?id=openai/gpt-4o",
    "/providers/anthropic",
    "/limits/gpt",
    "/budgets/whole-company",
    "/settings/-/history?name=data.payload",
    "/audit?actor=eve",
    "/nowhere",
)
"""Pages that show more with a query, and what stands where nothing is."""


def places(control: FakeControl) -> list[tuple[str, str]]:
    """Return (name of the picture, address) of every page that this installation has."""
    found: list[tuple[str, str]] = []
    for route in ROUTES:
        if route.method != "GET" or route.path in PARTS or route.path == "/sign-in":
            continue
        address = filled(route.path, control)
        if address:
            found.append((named(route.path), address))
    if control.records.calls:
        user = next(call.opened.user for call in control.records.calls if call.opened.user)
        found += [(named(address), address) for address in MORE]
        found.append(("privacy-found", f"/privacy?user={user}"))
    return found


def filled(path: str, control: FakeControl) -> str:
    """Return a route's path with something that is there; empty where there is nothing such."""
    calls = control.records.calls
    if path == "/sessions/one":
        talk = next((call.opened for call in reversed(calls) if call.opened.session), None)
        return f"{path}?project={talk.project}&session={talk.session}" if talk else ""
    there = {
        "/calls/{id}": calls[-1].id if calls else "",
        "/traces/{id}": AGENT if control.records.spans else "",
        "/projects/{name}": "default",
        "/alerts/{name}": next(iter(control.alerts.held), ""),
        "/users/{name}": "eve",
        "/providers/{name}": next(iter(control.objects._providers), ""),
        "/limits/{name}": next(iter(control.objects._limits), ""),
        "/budgets/{name}": "each-user" if control.objects._budgets else "",
    }
    if "{" not in path:
        return path
    part = there[path]
    return path[: path.index("{")] + part if part else ""


def named(address: str) -> str:
    """Return an address as the beginning of a file's name."""
    return "".join(c if c.isalnum() else "-" for c in address.strip("/")).strip("-") or "home"
