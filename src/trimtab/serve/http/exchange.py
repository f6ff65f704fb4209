"""One request and the reply to it, as an ASGI application sees them.

Source: ASGI 3 specification, HTTP connection scope (version 2.5).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .head import BODILESS, CHUNKED, CLOSING, CONTINUE, NO_BODY, encode_headers, refusal
from .limits import UNREAD_BYTES, UNSENT_BYTES

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


class Gone(OSError):
    """Raised by `send` where nobody is there any more: an OSError, as ASGI asks for."""


class Exchange:
    """A request whose head has arrived; its body may still be on the way. Runs in a task of its own."""

    __slots__ = (
        "_connection",
        "_delivered",
        "_head",
        "_left",
        "_pieces",
        "_waiters",
        "begun",
        "ended",
        "expects",
        "gone",
        "keep_alive",
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
        self._waiters: list[asyncio.Future[None]] | None = None
        self._head: Message | None = None
        self._left = 0
        self._delivered = False
        self.unread = 0
        """Body bytes that the application has not taken."""
        self.whole = False
        """The request has arrived whole."""
        self.expects = False
        """The client waits for `100 Continue` before it sends the body."""
        self.keep_alive = True
        self.gone = False
        self.begun = self.ended = False

    async def run(self, app: App) -> None:
        """Run the application, and see to it that the reply ends as what it is."""
        try:
            await app(self.scope, self.receive, self.send)
            if not (self.ended or self.gone):
                self._fail("returned before its reply was complete")
        except Gone:
            pass  # whoever asked is not there to be told
        except asyncio.CancelledError:
            pass  # cut at the end of a drain; the reply stays as far as it came
        except Exception:  # noqa: BLE001 - whatever an application raises, the server goes on
            self._fail("raised", exc_info=True)
        finally:
            self._connection.finished(self)

    def _fail(self, how: str, *, exc_info: bool = False) -> None:
        """Say 500 where a reply has not begun; one that has stays unterminated."""
        _log.error("the application %s on %r", how, self.scope["path"][:200], exc_info=exc_info)
        if not self.begun and not self.gone:
            self.begun = self.ended = True
            self.keep_alive = False
            self._connection.write(refusal(500, "an internal error ended the request"))

    # --- the connection's side ------------------------------------------------------------------------------

    @property
    def hungry(self) -> bool:
        """Whether the application waits for what the client has yet to send."""
        return self._waiters is not None and not self._delivered

    @property
    def endless(self) -> bool:
        """Whether only the connection's end says that the reply is whole."""
        return self.begun and self._left == CLOSING

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(data)
        self.unread += len(data)
        if self._waiters is not None:
            self._wake()
        if self.unread > UNREAD_BYTES:
            self._connection.regulate()

    def complete(self) -> None:
        """The request is whole."""
        self.whole = True
        if self._waiters is not None:
            self._wake()

    def lose(self) -> None:
        """The client is gone, or what it sends cannot be read."""
        self.gone = True
        if self._waiters is not None:
            self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    # --- the application's side -----------------------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next piece of the body; after the last, wait until the client has gone or has its reply."""
        if not self._delivered:
            if not (self._pieces or self.whole or self.gone):
                await self._hunger()
            if not self.gone:
                return self._take()
        while not (self.gone or self.ended):
            await self._wait()
        return {"type": _DISCONNECT}

    async def _hunger(self) -> None:
        """Wait for more of the body; the client's time for it runs meanwhile."""
        connection = self._connection
        if self.expects:
            self.expects = False
            if not self.begun:
                connection.write(CONTINUE)
        try:
            while not (self._pieces or self.whole or self.gone):
                connection.expect()
                await self._wait()
        finally:
            connection.relieve()

    def _take(self) -> Message:
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        blocked, self.unread = self.unread > UNREAD_BYTES, 0
        if blocked:
            self._connection.regulate()
        self._delivered = whole = self.whole
        return {"type": "http.request", "body": body, "more_body": not whole}

    def _wait(self) -> asyncio.Future[None]:
        waiter = self._connection.loop.create_future()
        if self._waiters is None:
            self._waiters = [waiter]
        else:
            self._waiters.append(waiter)
        return waiter

    async def send(self, message: Message) -> None:
        """Take the reply's head, then its body; returns once the client keeps up.

        Raises:
            Gone: the client is no longer there.
            RuntimeError: the application sends out of order, or another length than it said.
            ValueError: a header or the status would not be HTTP.
        """
        if self.gone:
            raise Gone(_GONE)
        kind = message["type"]
        if kind == "http.response.body":
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
            if self._connection.blocked:
                await self._connection.unblocked()
                if self.gone:
                    raise Gone(_GONE)
        elif kind == "http.response.start":
            if self._head is not None or self.begun:
                raise RuntimeError("a reply has one head")
            self._head = message

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self._head is not None:
            self._begin(self._head, body, more=more)
        elif not self.begun or self.ended:
            raise RuntimeError("a reply's body must follow its head, and ends once")
        elif self._left == CHUNKED and more:  # what streams consist of
            if body:
                self._connection.write(b"%x\r\n%b\r\n" % (len(body), body))
        elif data := self._framed(body, more=more):
            self._connection.write(data)
        if not more:
            self.ended = True
            if self._waiters is not None:
                self._wake()

    def _begin(self, start: Message, body: bytes, *, more: bool) -> None:
        """Send the head and what there is of the body: one write, so that no delayed ACK comes between."""
        connection, scope, status = self._connection, self.scope, start["status"]
        theirs, length, close = encode_headers(start.get("headers", ()))
        if close or not self.whole or connection.draining:
            self.keep_alive = False
        if length < 0 and not more:
            length = len(body)
        usual = self.keep_alive and status not in NO_BODY and scope["http_version"] == "1.1"
        if usual and length == len(body) and not more and scope["method"] != "HEAD":
            ours = b"content-length: %d\r\n" % length
        else:
            ours = self._frame(status, length)
            body = self._framed(body, more=more)
        head = b"%b%b%b\r\n" % (connection.server.opening(status), theirs, ours)
        self._head, self.begun = None, True
        if len(body) > UNSENT_BYTES:
            connection.writelines((head, body))
        else:
            connection.write(head + body)

    def _frame(self, status: int, length: int) -> bytes:
        """Return the lines that say where a reply ends; `length` is negative where nobody knows it yet."""
        scope = self.scope
        old, head_only = scope["http_version"] == "1.0", scope["method"] == "HEAD"
        lines, self._left = b"", length
        if length < 0 and old:
            self.keep_alive, self._left = head_only or status in NO_BODY, CLOSING
        elif length < 0:
            self._left = CHUNKED
            lines = b"transfer-encoding: chunked\r\n"
        elif length or not head_only:  # of an empty reply to HEAD we cannot know what GET would give
            lines = b"content-length: %d\r\n" % length
        if status in NO_BODY:
            lines = b""
        if head_only or status in NO_BODY:
            self._left = BODILESS
        if not self.keep_alive:
            return lines + b"connection: close\r\n"
        return lines + b"connection: keep-alive\r\n" if old else lines

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        """Return what goes out for a piece of the body.

        Raises:
            RuntimeError: the body is longer or shorter than the head says: the next reply would be read in its place.
        """
        left = self._left
        if left >= 0:
            self._left = left = left - len(body)
            if left < 0 or (left and not more):
                raise RuntimeError("a reply's body must be as long as its content-length says")
            return body
        if left == CHUNKED:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        return b"" if left == BODILESS else body
