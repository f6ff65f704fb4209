"""Projects: the tenants."""

from starlette.requests import Request
from starlette.responses import Response

from .replies import control_of, reply


async def list_projects(request: Request) -> Response:
    """Return all projects."""
    return reply({"projects": await control_of(request).projects()})
