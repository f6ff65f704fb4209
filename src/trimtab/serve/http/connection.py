"""One client's connection: what was asked is answered in order; whoever must go on next has so long."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, cast

from .exchange import Exchange
from .head import refusal
from .limits import LINGER_S, SLICE_BYTES, UNREAD_BYTES, UNSENT_BYTES
from .reader import Reader, Refused

if TYPE_CHECKING:
    from .server import HttpServer

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for no time: closing sends a reset."""


class Connection(asyncio.Protocol):
    """Hands requests to the application one after the other, also where they come pipelined."""

    __slots__ = (
        "_current",
        "_deaf",
        "_drained",
        "_lingering",
        "_queue",
        "_reader",
        "_reading",
        "_refusal",
        "_rest",
        "_transport",
        "_unsent",
        "blocked",
        "client",
        "closing",
        "deadline",
        "draining",
        "ending",
        "loop",
        "server",
        "write",
        "writelines",
    )

    write: Callable[[bytes], None]
    """Sends, or lets it wait for the client."""
    writelines: Callable[[Iterable[bytes]], None]

    def __init__(self, server: "HttpServer") -> None:
        self.server = server
        self.loop = server.loop
        self._reader = Reader(self)
        self._transport: asyncio.Transport
        self._current: Exchange | None = None
        """The request that the application works on."""
        self._queue: deque[Exchange] = deque()
        """Those that came after it, out of the slice in which the first of them began."""
        self._rest = b""
        """What came after them, unparsed."""
        self._refusal: bytes | None = None
        """What to answer, after all that was asked before it, to bytes that are no request."""
        self._reading = True
        self._unsent = 0
        """What was unsent when a deadline was last set; less at its end is progress."""
        self._drained: list[asyncio.Future[None]] = []
        self._lingering = False
        self._deaf = False
        """What arrives is thrown away."""
        self.client: tuple[str, int] | None = None
        """The client's address and port, where it has one."""
        self.deadline = inf
        """Until when the client has to go on, in the loop's time; the server looks."""
        self.blocked = False
        """The client takes its reply more slowly than the application makes it."""
        self.closing = False
        """Nothing is answered here any more."""
        self.draining = False
        """Every reply that begins from now on says that the connection closes after it, and that holds."""
        self.ending = False
        """The request under way is the last, whatever its reply has said."""

    # --- the transport's side -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._transport = made = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.write, self.writelines = made.write, made.writelines
        peer = made.get_extra_info("peername")
        if isinstance(peer, tuple):  # a Unix socket's peer has a text, or nothing
            self.client = peer[0], peer[1]
        made.set_write_buffer_limits(high=UNSENT_BYTES)
        self.deadline = self.server.horizon
        self.server.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, or keep it until what was asked before is answered."""
        if self._deaf:
            return  # refused already: read only so that the refusal arrives
        if self._queue or len(data) > SLICE_BYTES:
            self._rest += data
            self._parse_rest()
            return
        try:
            self._reader.feed(data)
        except Refused as refused:
            self._refuse(refused.status, str(refused))

    def _parse_rest(self) -> None:
        """Parse what waits, slice by slice, until there is a request that has to wait."""
        rest, at, feed = self._rest, 0, self._reader.feed
        self._rest = b""
        try:
            while at < len(rest) and not self._queue and not self._deaf:
                end = at + SLICE_BYTES
                feed(rest[at:end])
                at = end
        except Refused as refused:
            self._refuse(refused.status, str(refused))
        self._rest = b"" if self._deaf else rest[at:]
        self.regulate()

    def eof_received(self) -> bool:
        """A client that closes its side is gone: it would not read on, or be there for the reply."""
        self._lose()
        self._await_flush()
        return False  # the transport closes, once what was sent is taken

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits for this client."""
        self._lose()
        self._reader.close()
        self.server.closed(self)

    def pause_writing(self) -> None:
        """The client is behind."""
        self.blocked = True
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = self.server.horizon

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.blocked = False
        if self._current is not None and not self._current.hungry and not self.closing:
            self.deadline = inf
        self._release()

    # --- the reader's side ----------------------------------------------------------------------------------

    def take(self, exchange: Exchange) -> None:
        """Start on a request, or let it wait for those before it."""
        if self._current is None:
            self._start(exchange)
        else:
            self._queue.append(exchange)

    def hush(self) -> None:
        """Take no notice of what follows."""
        self._deaf = True

    # --- the exchange's side --------------------------------------------------------------------------------

    def expect(self) -> None:
        """Give the client the idle time, from now, to go on."""
        self.deadline = self.server.horizon

    def relieve(self) -> None:
        """Nothing more is expected of the client, but that it takes what it was sent."""
        if not self.blocked and not self.closing:
            self.deadline = inf

    async def unblocked(self) -> None:
        """Return once the client has caught up, or has gone."""
        if self.blocked and not self.closing:
            drained = self.loop.create_future()
            self._drained.append(drained)
            await drained

    def regulate(self) -> None:
        """Read from the socket only while somebody has use for it, or to notice that the client leaves."""
        current = self._current
        wanted = self._deaf or (
            len(self._rest) <= UNREAD_BYTES and (current is None or current.unread <= UNREAD_BYTES)
        )
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def finished(self, exchange: Exchange) -> None:
        """The application is done with a request: go on with the next, or close."""
        self.server.ended(exchange)
        self._current = None
        if self.closing:
            return
        if not exchange.ended:
            self._cut(exchange)
        elif self.ending or not exchange.keep_alive:
            if self._queue or self._refusal is not None or not exchange.whole or not self._reading:
                self._linger()
            else:
                self._close()
        elif self._queue:
            self._start(self._queue.popleft())
            if self._rest and not self._queue:
                self._parse_rest()
            elif not self._reading:
                self.regulate()
        elif self._refusal is not None:
            self.write(self._refusal)
            self._linger()
        else:
            self.deadline = self.server.horizon
            if not self._reading:
                self.regulate()

    # --- the server's side ----------------------------------------------------------------------------------

    def close_idle(self) -> None:
        """Close where nothing was asked, and elsewhere after what was."""
        self.ending = True
        if self._current is None and not self.closing and not self._reader.in_head:
            self._close()

    def overdue(self) -> None:
        """The client has let its time pass: close, unless it is still taking what it was sent."""
        unsent, known = self._transport.get_write_buffer_size(), self._unsent
        if unsent and (unsent < known or not known):
            self._unsent = unsent
            self.deadline = self.server.horizon
        elif self._reader.in_head and self._current is None and not unsent and not self.closing:
            self._refuse(408, "the request's head did not arrive in time")
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.deadline = inf
        self._transport.abort()

    # --- inside ---------------------------------------------------------------------------------------------

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        if not self.blocked:
            self.deadline = inf
        self.server.start(exchange)

    def _refuse(self, status: int, message: str) -> None:
        """Answer bytes that are no request, and read none after them."""
        self._deaf = True
        current, refused = self._current, self._reader.incoming
        if refused is None or refused is not current:
            if refused is not None:
                self._queue.pop()  # it came last, and nobody has begun on it
            if current is not None:
                self._refusal = refusal(status, message)  # after what was asked before
                return
        elif refused.begun:
            refused.lose()
            if refused.ended:
                self._linger()
            else:
                self._cut(refused)
            return
        else:
            refused.lose()
        self.write(refusal(status, message))
        self._linger()

    def _cut(self, exchange: Exchange) -> None:
        """Leave a reply unterminated, and in such a way that nobody takes it for a whole one."""
        self.closing = self._deaf = True
        if exchange.endless and (sock := self._transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.abort()
        else:
            self._close()

    def _close(self) -> None:
        """Close once the client has taken what was sent; one that never does is not waited for."""
        self._await_flush()
        self._transport.close()

    def _await_flush(self) -> None:
        self.closing = self._deaf = True
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = self.server.horizon
        self._release()

    def _linger(self) -> None:
        """Say that nothing follows, and throw away what still arrives, for a while."""
        self._await_flush()
        self._rest = b""
        self.deadline = self.loop.time() + LINGER_S
        self.regulate()
        self._transport.write_eof()

    def _lose(self) -> None:
        self.closing = self._deaf = True
        if self._current is not None:
            self._current.lose()
        for exchange in self._queue:
            exchange.lose()
        self._queue.clear()
        self._rest = b""
        self._reader.incoming = None
        self._release()

    def _release(self) -> None:
        if self._drained:
            waiting, self._drained = self._drained, []
            for drained in waiting:
                if not drained.done():
                    drained.set_result(None)
