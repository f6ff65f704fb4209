"""The configuration file, read again."""

from starlette.requests import Request
from starlette.responses import Response

from .replies import control_of, reply


async def post_reload(request: Request) -> Response:
    """Read the file again, check and publish it; an unusable one is refused (`config_invalid`)."""
    return reply(await control_of(request).reload())
