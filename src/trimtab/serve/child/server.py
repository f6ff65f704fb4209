"""The HTTP server inside a process: granian, embedded, on a socket that the supervisor opened."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from trimtab.config import Gateway

_BACKLOG = 4096

REQUEST_CORO = "future_watcher"
"""Name of the coroutine that granian runs each request in."""


class SocketServer(Server):
    """Granian's embedded server, accepting on an open socket instead of opening one by its address."""

    def __init__(self, app: Callable[..., Any], listener: int, settings: Gateway) -> None:
        super().__init__(
            app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=_BACKLOG,
            # It counts connections, idle ones too, and stops accepting at that number.
            backpressure=settings.backpressure,
            # This runs while a connection waits for its next request as well: it is the idle timeout.
            http1_settings=HTTP1Settings(header_read_timeout=int(settings.idle_timeout_s * 1000)),
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Its own hook for systems without SO_REUSEPORT; from here on the server owns the descriptor and
        # closes it when it stops.
        self._ssp = None
        # (descriptor, Unix socket?, backlog): its stub names the first only.
        self._shd = SocketHolder(self._listener, False, _BACKLOG)  # type: ignore[assignment, call-arg]  # noqa: FBT003
        self._sfd = self._listener  # type: ignore[assignment]


async def serve(app: Callable[..., Any], listener: int, settings: Gateway, stop: asyncio.Event) -> None:
    """Serve until `stop` is set and every open request is answered.

    Cancel to end sooner. Once `stop` is set no connection is accepted, and idle ones are closed.
    """
    with socket.socket(fileno=listener) as given:
        given.setblocking(False)  # noqa: FBT003 - the standard library's signature
        server = SocketServer(app, given.detach(), settings)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve())
        waiting = tasks.create_task(stop.wait())
        await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        server.stop()  # type: ignore[no-untyped-call]
        await serving


def run_async(main: Callable[[], Any]) -> int:
    """Run a coroutine function on uvloop, or on asyncio's own loop where that is not installed."""
    try:
        import uvloop
    except ImportError:
        return int(asyncio.run(main()))
    return int(uvloop.run(main()))
