"""The listening side: connections, their deadlines, and the end in order."""

import asyncio
import socket
from email.utils import formatdate
from time import time

from .connection import Connection
from .exchange import App, Exchange
from .head import Target, parse_target
from .limits import LINGER_S, Limits

_BACKLOG = 4096
_TICK_S = 0.5
"""How often deadlines are looked at, and the Date header is made anew."""
_TURNS = 4
"""Turns of the loop that asyncio takes from accepting a connection to telling its protocol; uvloop takes one."""
_TARGETS_KEPT = 256
_LONGEST_KEPT = 256


class HttpServer:
    """Serves one application on one listening socket, on the running loop."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        """Prepare to serve; `run` does."""
        self.limits = limits or Limits()
        self.address: tuple[str, int] | None = None
        self.date_line = b""
        self._app = app
        self._connections: set[Connection] = set()
        self._waiting: dict[Connection, float] = {}
        """Connections whose client has to do something next, and until when: in the order of their deadlines."""
        self._active: set[Exchange] = set()
        self._targets: dict[bytes, Target] = {}
        self._changed = asyncio.Event()
        self._listening: asyncio.Server | None = None
        self._draining = False
        """Nothing is accepted, and every reply says that its connection closes."""
        self._over = False
        """Idle connections are closed."""
        self._timer: asyncio.TimerHandle | None = None

    # --- running --------------------------------------------------------------------------------------------

    async def run(self, listener: int, stop: asyncio.Event) -> None:
        """Serve until `stop` is set and every open request is answered; owns the descriptor and closes it.

        Once `stop` is set no connection is accepted and idle ones are closed. `cut` ends the open ones. After
        `retire`, it also ends by itself once the last client has gone.
        """
        self.loop = asyncio.get_running_loop()
        self._tick()
        try:
            async with asyncio.TaskGroup() as tasks:
                stopping = tasks.create_task(self._await_stop(stop))
                try:
                    with socket.socket(fileno=listener) as given:
                        given.setblocking(False)  # noqa: FBT003 - the standard library's signature
                        self.address = given.getsockname()[:2] if given.family != socket.AF_UNIX else None
                        await self._accept(given)
                    await self._await_clients(stop)
                finally:
                    stopping.cancel()
            self._drain()
            await self._await_end()
        finally:
            self._close()
            await asyncio.sleep(0)  # sockets that were aborted are closed in the loop's next turn

    def retire(self) -> None:
        """Accept no more, for another process does; answer what clients still ask on the connections they have.

        Each such reply says `connection: close`, so that no client loses a request to a connection that we close
        while it sends (RFC 9112, section 9.6). Idle connections stay open until `stop` is set.
        """
        self._draining = True
        for connection in self._connections:
            connection.draining = True
        self._changed.set()

    async def _await_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._draining = True
        self._changed.set()

    async def _await_clients(self, stop: asyncio.Event) -> None:
        """Return once `stop` is set, or the last connection is gone after `retire`."""
        # What was accepted before the socket was closed reaches us in the loop's next turns.
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        while (self._connections or self._active) and not stop.is_set():
            self._changed.clear()
            await self._changed.wait()

    async def _await_end(self) -> None:
        """Return once all open requests are done, and their clients have taken what was written last."""
        deadline: float | None = None
        while self._connections or self._active:
            if self._active:
                deadline = None
            elif deadline is None:
                deadline = self.loop.time() + LINGER_S
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                if not self._active:  # a request whose head was half there may have become whole
                    return

    async def _accept(self, given: socket.socket) -> None:
        """Accept while there is room; while there is none, newcomers wait in the kernel's queue."""
        while not self._draining:
            self._changed.clear()
            if self._listening is None and len(self._connections) < self.limits.connections:
                self._listening = await self.loop.create_server(
                    lambda: Connection(self), sock=given.dup(), backlog=_BACKLOG
                )
                continue
            await self._changed.wait()
        self._stop_accepting()

    def _stop_accepting(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()

    def _drain(self) -> None:
        self._over = True
        for connection in tuple(self._connections):
            connection.drain()

    def cut(self) -> None:
        """Cancel every open request; each records how it ended, and its reply stays unterminated."""
        for exchange in tuple(self._active):
            if exchange.task is not None:
                exchange.task.cancel()

    def _close(self) -> None:
        self._stop_accepting()
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self._connections):
            connection.abort()

    # --- connections ----------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """Take a connection in."""
        self._connections.add(connection)
        self.expect(connection)
        if self._over:
            connection.drain()
        elif self._draining:
            connection.draining = True
        elif len(self._connections) >= self.limits.connections:
            self._stop_accepting()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._waiting.pop(connection, None)
        if self._listening is None:
            self._changed.set()

    def expect(self, connection: Connection) -> None:
        """Give its client the idle time, from now, to go on."""
        waiting = self._waiting
        waiting.pop(connection, None)
        waiting[connection] = self.loop.time() + self.limits.idle_s

    def forget(self, connection: Connection) -> None:
        """Wait for its client no longer."""
        self._waiting.pop(connection, None)

    # --- requests -------------------------------------------------------------------------------------------

    def target(self, url: bytes) -> Target:
        """Take a request's target apart; the same few come again and again.

        Raises:
            ValueError: it cannot be read.
        """
        found = self._targets.get(url)
        if found is None:
            found = parse_target(url)
            if len(url) <= _LONGEST_KEPT:
                if len(self._targets) >= _TARGETS_KEPT:
                    self._targets.clear()
                self._targets[url] = found
        return found

    def start(self, exchange: Exchange) -> None:
        """Run the application on a request."""
        # The exchange keeps the task, and `run` lets no error out: it cannot be lost.
        self._active.add(exchange)
        exchange.task = self.loop.create_task(exchange.run(self._app))

    def ended(self, exchange: Exchange) -> None:
        """A request is done."""
        exchange.task = None
        self._active.discard(exchange)
        if self._draining:
            self._changed.set()

    # --- time -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.date_line = b"date: %b\r\n" % formatdate(time(), usegmt=True).encode()
        now = self.loop.time()
        while self._waiting:
            connection = next(iter(self._waiting))
            if self._waiting[connection] > now:
                break
            del self._waiting[connection]
            connection.overdue()
        self._timer = self.loop.call_later(min(_TICK_S, self.limits.idle_s / 4), self._tick)
