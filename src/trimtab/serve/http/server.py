"""The server of one application: connections, their deadlines, and the end in order."""

import asyncio
import socket
from email.utils import formatdate
from time import time

from .acceptor import Acceptor
from .connection import Connection
from .exchange import App, Exchange
from .head import Target, parse_target, status_line
from .limits import KERNEL_BYTES, LINGER_S, Limits

_TICK_S = 0.5
"""How often deadlines are looked at, and the Date header is made anew."""
_TARGETS_KEPT = 256
_LONGEST_KEPT = 256


class HttpServer:
    """Serves one application on one listening socket, on the running loop."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        """Prepare to serve; `run` does."""
        self.limits = limits or Limits()
        self.address: tuple[str, int] | None = None
        self._date_line = b""
        self._openings: dict[int, bytes] = {}
        self.horizon = 0.0
        """The deadline of who has to go on from now, in the loop's time: exact to a tick, and never too early."""
        self._app = app
        self._tick_s = min(_TICK_S, self.limits.idle_s / 4)
        self._connections: set[Connection] = set()
        self._active: set[Exchange] = set()
        self._targets: dict[bytes, Target] = {}
        self._changed = asyncio.Event()
        self._acceptor: Acceptor | None = None
        self._draining = False
        """Nothing is accepted, and every reply says that its connection closes."""
        self._retired = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    # --- running --------------------------------------------------------------------------------------------

    async def run(self, listener: int, stop: asyncio.Event) -> None:
        """Serve until `stop` is set and every open request is answered; owns the descriptor and closes it.

        Once `stop` is set no connection is accepted and idle ones are closed. `cut` ends the open ones. After
        `retire`, it also ends by itself once the last client has gone.

        Args:
            listener: the descriptor of a socket that listens.
            stop: ends it.
        """
        self.loop = asyncio.get_running_loop()
        self._tick()
        try:
            with socket.socket(fileno=listener) as given:
                self._prepare(given)
                self._acceptor = acceptor = Acceptor(given, lambda: Connection(self), self._room)
                try:
                    acceptor.resume()
                    await self._first_of(stop, self._retired)
                finally:
                    self._draining = True
                    await acceptor.close()
            await self._await_clients(stop)
            await self._drain()
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
        self._retired.set()

    async def _first_of(self, *events: asyncio.Event) -> None:
        waiting = [self.loop.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _await_clients(self, stop: asyncio.Event) -> None:
        """Return once `stop` is set, or the last connection is gone after `retire`."""
        while (self._connections or self._active) and not stop.is_set():
            self._changed.clear()
            await self._first_of(stop, self._changed)

    def _prepare(self, given: socket.socket) -> None:
        given.setblocking(False)  # noqa: FBT003 - the standard library's signature
        if given.family == socket.AF_UNIX:
            return
        self.address = given.getsockname()[:2]
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if option is not None:  # Linux and macOS; its connections inherit it
            given.setsockopt(socket.IPPROTO_TCP, option, KERNEL_BYTES)

    async def _drain(self) -> None:
        """Close what is idle, and return once the rest has come to its end."""
        for connection in self._connections:
            connection.draining = True
        for _ in range(2):
            await asyncio.sleep(0)  # requests that had arrived by now are read, and answered
        for connection in tuple(self._connections):
            connection.close_idle()
        while self._connections or self._active:
            self._changed.clear()
            # Without an open request, what is left is for clients to take, or to complete what they began to ask.
            limit = None if self._active else LINGER_S
            try:
                async with asyncio.timeout(limit):
                    await self._changed.wait()
            except TimeoutError:
                return

    def cut(self) -> None:
        """Cancel every open request; each records how it ended, and its reply stays unterminated."""
        for exchange in tuple(self._active):
            if exchange.task is not None:
                exchange.task.cancel()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.cut()
        for connection in tuple(self._connections):
            connection.abort()

    # --- connections ----------------------------------------------------------------------------------------

    def _room(self) -> int:
        coming = self._acceptor.coming if self._acceptor is not None else 0
        return self.limits.connections - len(self._connections) - coming

    def opened(self, connection: Connection) -> None:
        """Take a connection in."""
        self._connections.add(connection)
        connection.draining = self._draining

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if self._draining:
            self._changed.set()
        elif self._acceptor is not None:
            self._acceptor.resume()

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

    def opening(self, status: int) -> bytes:
        """Return a reply's first lines: the status, and the date.

        Raises:
            ValueError: it is no status that a reply can end with.
        """
        found = self._openings.get(status)
        if found is None:
            self._openings[status] = found = status_line(status) + self._date_line
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
        # First of all, so that a fault below cannot be the last tick.
        self._timer = self.loop.call_later(self._tick_s, self._tick)
        self._date_line = b"date: %b\r\n" % formatdate(time(), usegmt=True).encode()
        self._openings.clear()
        now = self.loop.time()
        self.horizon = now + self._tick_s + self.limits.idle_s
        # 30 µs for a thousand connections; cheaper than to keep them in order at each request.
        for connection in [each for each in self._connections if each.deadline <= now]:
            connection.overdue()
