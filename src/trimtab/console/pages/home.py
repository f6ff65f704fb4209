"""The first page."""

from starlette.responses import Response

from trimtab.console.routes import Route
from trimtab.console.visit import Visit


async def show(visit: Visit) -> Response:
    """Return the first page."""
    return await visit.page("home.html", title=visit.t("nav.home"))


ROUTES = (Route("GET", "/", show),)
