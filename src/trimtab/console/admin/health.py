"""Health: targets, processes, who obeys which generation, the log's backlog, disk, what went unrecorded."""

from typing import Any

import msgspec
from starlette.responses import Response

from trimtab.console.routes import Route
from trimtab.console.visit import Visit


async def show(visit: Visit) -> Response:
    """Return the page; htmx asks for its changing part alone."""
    machine = visit.control.machine
    health, targets = plain(await machine.health()), await machine.targets()
    counted = health.get("counters", {})
    counters = [(_named(visit, name), count) for name, count in counted.items()]
    fields = {"it": health, "lost": unrecorded(counted), "counters": counters, "targets": targets}
    if visit.partial:
        return visit.fragment("health_part.html", **fields)
    return await visit.page("health.html", title=visit.t("nav.health"), **fields)


def _named(visit: Visit, counter: str) -> str:
    key = f"health.count_{counter}"
    return visit.t(key) if visit.site.words.has(key) else counter


def plain(health: dict[str, Any]) -> dict[str, Any]:
    """Return what the machine says with its structs as dictionaries."""
    found: dict[str, Any] = msgspec.to_builtins(health)
    return found


def unrecorded(counters: dict[str, int]) -> int:
    """Return how many records the log could not take: calls are counted once, feedback too.

    >>> unrecorded({"requests": 9, "unrecorded_opened": 1, "unrecorded_closed": 2})
    3
    """
    return sum(count for name, count in counters.items() if name.startswith("unrecorded_"))


ROUTES = (Route("GET", "/health", show),)
