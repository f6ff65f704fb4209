"""An ASGI application on a real socket, in a thread of this process, on the house's own server."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from trimtab.config import Gateway as Settings
from trimtab.serve.child.server import serve

from .threads import Serving

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Site(Serving):
    """Serves until the block ends."""

    thread = "site"

    app: App
    port: int = 0
    """0: any that is free, known once it serves."""

    def __enter__(self) -> Self:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(64)  # from here on a client that connects waits and is not refused
        self.port = self._listener.getsockname()[1]
        return super().__enter__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self) -> None:
        self._ready.set()
        await serve(self.app, self._listener.detach(), Settings(), self._stop)
