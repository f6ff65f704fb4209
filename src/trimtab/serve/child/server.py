"""The HTTP server inside a process, on a socket that the supervisor opened."""

import asyncio
from collections.abc import Callable
from typing import Any

from trimtab.config import Gateway
from trimtab.serve.http import HttpServer, Limits


def http_server(app: Callable[..., Any], settings: Gateway) -> HttpServer:
    """Return a server of an ASGI application under the gateway's settings."""
    return HttpServer(app, Limits(connections=settings.backpressure, idle_s=settings.idle_timeout_s))


async def serve(app: Callable[..., Any], listener: int, settings: Gateway, stop: asyncio.Event) -> None:
    """Serve until `stop` is set and every open request is answered.

    Once `stop` is set no connection is accepted, and idle ones are closed.
    """
    await http_server(app, settings).run(listener, stop)


def run_async(main: Callable[[], Any]) -> int:
    """Run a coroutine function on uvloop, or on asyncio's own loop where that is not installed."""
    try:
        import uvloop
    except ImportError:
        return int(asyncio.run(main()))
    return int(uvloop.run(main()))
