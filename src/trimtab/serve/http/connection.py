"""One client's connection: bytes in, requests out, replies in the order of their requests."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from .exchange import Exchange
from .head import Headers, refusal
from .limits import HEAD_BYTES, HEADERS, LINGER_S, UNREAD_BYTES, UNSENT_BYTES

if TYPE_CHECKING:
    from .server import HttpServer

_ASGI: Final = {"version": "3.0", "spec_version": "2.5"}


class _Refused(Exception):
    """Raised inside the parser's callbacks: a request that no application will see."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection(asyncio.Protocol):
    """Reads requests and hands them to the application one after the other, also where they come pipelined."""

    __slots__ = (
        "_current",
        "_deaf",
        "_drained",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_incoming",
        "_lingering",
        "_parser",
        "_queue",
        "_reading",
        "_refusal",
        "_transport",
        "_unsent",
        "_url",
        "blocked",
        "closing",
        "draining",
        "ending",
        "loop",
        "server",
    )

    def __init__(self, server: "HttpServer") -> None:
        self.server = server
        self.loop = server.loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._current: Exchange | None = None
        """The request that the application works on."""
        self._incoming: Exchange | None = None
        """The request whose body is arriving."""
        self._queue: deque[Exchange] = deque()
        self._refusal: bytes | None = None
        """What to answer, after all that was asked before it, to bytes that are no request."""
        self._headers: Headers = []
        self._url = b""
        self._in_head = False
        self._head_bytes = 0
        self._reading = True
        self._unsent = 0
        self._drained: asyncio.Future[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._deaf = False
        """What arrives is thrown away."""
        self.blocked = False
        """The client takes its reply more slowly than the application makes it."""
        self.closing = False
        """Nothing is answered here any more."""
        self.draining = False
        """Every reply that begins from now on says that the connection closes after it."""
        self.ending = False
        """Closes as soon as nothing is asked."""

    # --- the transport's side -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES)
        self.server.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        if self._deaf:
            return  # refused already: read only so that the refusal arrives
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Another protocol is offered, and declined by going on as before (RFC 9110, section 7.8).
            self._parser = httptools.HttpRequestParser(self)
            self.data_received(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Refused):
                self._refuse(cause.status, str(cause))
            else:
                self._refuse(400, f"this is not HTTP/1.1: {error}")
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(431, f"the request's head is over {HEAD_BYTES} bytes")
        elif self._incoming is not None:
            self._progress(self._incoming)

    def _progress(self, incoming: Exchange) -> None:
        """A body goes on: its deadline begins anew, unless it is the application that must go on."""
        self.server.expect(self)
        if incoming.unread > UNREAD_BYTES:
            self.regulate()

    def eof_received(self) -> bool:
        """A client that closes its side is gone: it would not read on, or be there for the reply."""
        self._lose()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits for this client."""
        self.closing = self._deaf = True
        self._lose()
        if self._lingering is not None:
            self._lingering.cancel()
        self._parser = None  # it refers to us: a cycle would wait for the garbage collector
        self.server.closed(self)

    def pause_writing(self) -> None:
        """The client is behind."""
        self.blocked = True
        self._unsent = self._transport.get_write_buffer_size()
        self.server.expect(self)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.blocked = False
        if self._current is not None and (self._incoming is None or not self._reading):
            self.server.forget(self)
        self._release()

    # --- httptools' side ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._headers, self._url = [], b""
        self._in_head, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        """Collect the target; it may come in pieces."""
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; those of a trailer are dropped."""
        if self._in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Hand the request on; its body follows."""
        parser, server, headers = self._parser, self.server, self._headers
        self._in_head = False
        if len(headers) > HEADERS:
            raise _Refused(431, f"the request has over {HEADERS} headers")
        try:
            path, raw_path, query = server.target(self._url)
        except ValueError as error:
            raise _Refused(400, str(error)) from error
        version = parser.get_http_version()
        exchange = Exchange(
            self,
            {
                "type": "http",
                "asgi": _ASGI,
                "http_version": version,
                "method": parser.get_method().decode("ascii"),
                "scheme": "http",
                "path": path,
                "raw_path": raw_path,
                "query_string": query,
                "root_path": "",
                "headers": headers,
                "client": None,
                "server": server.address,
            },
        )
        exchange.keep_alive = parser.should_keep_alive()
        if version != "1.1":
            exchange.old = True
        for name, value in headers:
            if name == b"expect" and value.lower() == b"100-continue":
                exchange.expects = True
        self._incoming = exchange
        if self._current is None:
            self._current = exchange
            server.start(exchange)
        else:
            self._queue.append(exchange)
            self.regulate()

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body on."""
        incoming = self._incoming
        if incoming is not None:
            incoming.feed(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.complete()
            if incoming.unread > UNREAD_BYTES:
                self.regulate()
            if not self.blocked:
                self.server.forget(self)

    # --- the exchange's side --------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send, or let it wait for the client."""
        self._transport.write(data)

    async def unblocked(self) -> None:
        """Return once the client has caught up, or has gone."""
        if self.blocked and not self.closing:
            self._drained = drained = self.loop.create_future()
            await drained

    def regulate(self) -> None:
        """Read from the socket only while somebody has use for it."""
        incoming = self._incoming or self._current
        wanted = not self._queue and (incoming is None or incoming.unread <= UNREAD_BYTES)
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
            if self._incoming is not None:
                self.server.expect(self)
        else:
            self._transport.pause_reading()
            if not self.blocked:
                self.server.forget(self)  # it is not the client that we wait for

    def finished(self, exchange: Exchange) -> None:
        """The application is done with a request: go on with the next, or close."""
        self.server.ended(exchange)
        self._current = None
        if self.closing or self._transport.is_closing():
            return
        if not exchange.ended:
            # Cut off unterminated, so that nobody takes it for a whole reply.
            self._close()
        elif not exchange.whole:
            self._linger()
        elif self._queue and exchange.keep_alive:
            self._current = following = self._queue.popleft()
            self.server.start(following)
            self.regulate()
        elif self._refusal is not None:
            self._transport.write(self._refusal)
            self._linger()
        elif not exchange.keep_alive or (self.ending and not self._in_head):
            self._close()
        else:
            self.server.expect(self)
            if not self._reading:
                self.regulate()

    # --- the server's side ----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no further request; close once what was asked, were it only half of a head, is answered."""
        self.draining = self.ending = True
        if self._current is None and not (self.closing or self._in_head):
            self._close()

    def overdue(self) -> None:
        """The client has let its time pass: close, unless it is still taking what it was sent."""
        unsent = self._transport.get_write_buffer_size()
        if unsent and unsent < self._unsent:
            self._unsent = unsent
            self.server.expect(self)
        elif self._in_head and self._current is None and not unsent:
            self._refuse(408, "the request's head did not arrive in time")
        else:
            self._transport.abort()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # --- inside ---------------------------------------------------------------------------------------------

    def _refuse(self, status: int, message: str) -> None:
        """Answer bytes that are no request, and read none after them."""
        refused, self._incoming = self._incoming, None
        self._in_head = False
        if refused is None and self._current is not None:
            self._refusal = refusal(status, message)  # after what was asked before
            self._deaf = True
            return
        if refused is not None:
            self._lose()
            if refused is not self._current or refused.begun:
                self.closing = self._deaf = True
                self._close()
                return
        self._transport.write(refusal(status, message))
        self._linger()

    def _close(self) -> None:
        """Close once the client has taken what was sent; one that never does is not waited for."""
        self._transport.close()
        self.server.expect(self)

    def _linger(self) -> None:
        """Say that nothing follows, and throw away what still arrives, for a while."""
        self.closing = self._deaf = True
        self.server.forget(self)
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._lingering = self.loop.call_later(LINGER_S, self._transport.abort)

    def _lose(self) -> None:
        for exchange in (self._current, self._incoming, *self._queue):
            if exchange is not None:
                exchange.lose()
        self._queue.clear()
        self._release()

    def _release(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
