"""Upkeep: the workers replaced while they serve, the demo filled."""

from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.replies import actor_of, control_of, reply
from trimtab.api.table import Route
from trimtab.api.upkeep import DemoFilled, Restarted


async def post_restart(request: Request) -> Response:
    """Replace the workers one after the other."""
    return reply(await control_of(request).machine.restart(actor_of(request)))


async def post_demo(request: Request) -> Response:
    """Fill the project `demo`."""
    return reply(await control_of(request).machine.fill_demo(actor_of(request)))


ROUTES = (
    Route(
        method="POST", path="/api/v1/restart", endpoint=post_restart, action="workers.restart", role="admin",
        summary="reads the configuration file again, then replaces the workers one after the other without failing a "
        "call; answers once that is over, or after 25 s (`done` is false then, and it goes on)", reply=Restarted,
    ),
    Route(
        method="POST", path="/api/v1/demo", endpoint=post_demo, action="demo.fill", role="admin",
        summary="fills the project `demo` with a day of made-up calls; one of the last 24 hours is left as it is. "
        "`DELETE /api/v1/projects/demo` takes it away", reply=DemoFilled,
    ),
)  # fmt: skip
"""Every route of this noun."""
