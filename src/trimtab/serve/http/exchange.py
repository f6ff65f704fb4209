"""One request and the reply to it, as an ASGI application sees them.

Source: ASGI 3 specification, HTTP connection scope (version 2.5).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .head import CONTINUE, NO_BODY, encode_head, refusal
from .limits import UNREAD_BYTES

if TYPE_CHECKING:
    from .connection import Connection

_log = logging.getLogger(__name__)
Scope = dict[str, Any]
Message = dict[str, Any]
App = Callable[
    [Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_GONE = "the client closed its connection before the answer was complete"
_DISCONNECT = "http.disconnect"
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Gone(OSError):
    """Raised by `send` where nobody is there any more: an OSError, as ASGI asks for."""


class Exchange:
    """A request whose head has arrived; its body may still be on the way. Runs in a task of its own."""

    __slots__ = (
        "_connection",
        "_delivered",
        "_framed",
        "_head",
        "_pieces",
        "_waiter",
        "begun",
        "bodiless",
        "chunked",
        "ended",
        "expects",
        "gone",
        "keep_alive",
        "old",
        "scope",
        "task",
        "unread",
        "whole",
    )

    def __init__(self, connection: "Connection", scope: Scope) -> None:
        self._connection = connection
        self.scope = scope
        self.task: asyncio.Task[None] | None = None
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._head: Message | None = None
        self._delivered = self._framed = False
        self.unread = 0
        """Body bytes that the application has not taken."""
        self.whole = False
        """The request has arrived whole."""
        self.expects = False
        """The client waits for `100 Continue` before it sends the body."""
        self.old = False
        """HTTP/1.0: no chunked replies."""
        self.keep_alive = True
        self.gone = False
        self.begun = self.ended = False
        self.chunked = self.bodiless = False

    async def run(self, app: App) -> None:
        """Run the application, and see to it that the reply ends as what it is."""
        try:
            await app(self.scope, self.receive, self.send)
        except Gone:
            pass  # whoever asked is not there to be told
        except asyncio.CancelledError:
            self.keep_alive = False  # cut at the end of a drain; the reply stays as far as it came
        except Exception:  # noqa: BLE001 - whatever an application raises, the server goes on
            _log.exception("the application failed on %s", self.scope["path"][:200])
            if not self.begun and not self.gone:
                self._fail()
        finally:
            self._connection.finished(self)

    def _fail(self) -> None:
        self.begun = self.ended = True
        self.keep_alive = False
        self._connection.write(refusal(500, "an internal error ended the request"))

    # --- the connection's side ------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(data)
        self.unread += len(data)
        self._wake()

    def complete(self) -> None:
        """The request is whole."""
        self.whole = True
        self._wake()

    def lose(self) -> None:
        """The client is gone, or what it sends cannot be read."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # --- the application's side -----------------------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next piece of the body; after the last, wait until the client has gone or has its reply."""
        if not self._delivered:
            if self.expects and not self.begun:
                self.expects = False
                self._connection.write(CONTINUE)
            while not (self._pieces or self.whole or self.gone):
                await self._wait()
            if not self.gone:
                return self._take()
        while not (self.gone or self.ended):
            await self._wait()
        return {"type": _DISCONNECT}

    def _take(self) -> Message:
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        blocked, self.unread = self.unread > UNREAD_BYTES, 0
        if blocked:
            self._connection.regulate()
        self._delivered = self.whole
        return {"type": "http.request", "body": body, "more_body": not self.whole}

    def _wait(self) -> asyncio.Future[None]:
        self._waiter = waiter = self._connection.loop.create_future()
        return waiter

    async def send(self, message: Message) -> None:
        """Take the reply's head, then its body; returns once the client keeps up.

        Raises:
            Gone: the client is no longer there.
            RuntimeError: the application sends out of order.
            ValueError: a header holds a line break.
        """
        if self.gone:
            raise Gone(_GONE)
        kind = message["type"]
        if kind == "http.response.body":
            connection = self._connection
            body, more = message.get("body", b""), message.get("more_body", False)
            if self._head is not None:
                data = self._begin(self._head, body, more=more)
            elif self.begun and not self.ended:
                data = self._more(body, more=more)
            else:
                raise RuntimeError("a reply's body must follow its head, and ends once")
            if data:
                connection.write(data)
            if not more:
                self.ended = True
                self._wake()
            if connection.blocked:
                await connection.unblocked()
        elif kind == "http.response.start":
            if self._head is not None or self.begun:
                raise RuntimeError("a reply has one head")
            self._head = message

    def _begin(self, start: Message, body: bytes, *, more: bool) -> bytes:
        """Return the head and what there is of the body: one write, so that no delayed ACK comes between."""
        connection, headers, status = self._connection, list(start.get("headers", ())), start["status"]
        framed = False
        for name, _ in headers:
            if name in _FRAMING:
                framed = True
        self.bodiless = status in NO_BODY or self.scope["method"] == "HEAD"
        if not (self.whole and not connection.draining):
            self.keep_alive = False
        lines = connection.server.date_line
        if not framed and status not in NO_BODY:
            if not more:
                lines += b"content-length: %d\r\n" % len(body)
            elif self.old:
                self.keep_alive = False
            else:
                self.chunked = True
                lines += b"transfer-encoding: chunked\r\n"
        if not self.keep_alive:
            lines += b"connection: close\r\n"
        elif self.old:
            lines += b"connection: keep-alive\r\n"
        head = encode_head(status, headers, lines)
        self._head, self.begun = None, True
        return head + self._more(body, more=more)

    def _more(self, body: bytes, *, more: bool) -> bytes:
        if self.bodiless:
            return b""
        if not self.chunked:
            return body
        if more:
            return b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
