"""An ASGI application on a real socket, in a thread of this process, on the house's own server."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from trimtab.config import Gateway as Settings
from trimtab.serve.child.server import run_async, serve

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Site:
    """Serves until the block ends."""

    app: App
    port: int = 0
    """0: any that is free, known once it serves."""

    def __enter__(self) -> Self:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(64)  # from here on a client that connects waits and is not refused
        self.port = self._listener.getsockname()[1]
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="site")
        self._thread.start()
        assert self._started.wait(20), "the site did not start"
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the site did not stop"
        if self._error is not None:
            raise self._error

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _run(self) -> None:
        try:
            run_async(self._main)
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()

    async def _main(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await serve(self.app, self._listener.detach(), Settings(), self._stop)
        return 0
