"""When the configuration was read, who asked for it, and what changed; what was refused, and why."""

from starlette.responses import Response

from trimtab.console.routes import Route
from trimtab.console.visit import Visit

SHOWN = 50
"""Readings shown, newest first."""


async def show(visit: Visit) -> Response:
    """Return the history of the configuration file."""
    readings = await visit.control.machine.readings(SHOWN)
    return await visit.page("config_history.html", title=visit.t("setting.readings"), readings=readings)


ROUTES = (Route("GET", "/settings/-/readings", show),)
