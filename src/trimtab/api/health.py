"""Is everything running?"""

from starlette.requests import Request
from starlette.responses import Response

from .replies import control_of, reply


async def get_healthz(_request: Request) -> Response:
    """Say that the control process answers."""
    return reply({"status": "ok"})


async def get_health(request: Request) -> Response:
    """Return processes, generations by worker and the ledger's backlog."""
    return reply(await control_of(request).health())
