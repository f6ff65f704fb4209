"""One HTTP/1.1 connection to a provider: an asyncio protocol around llhttp (through httptools)."""

import asyncio
from collections.abc import Callable
from typing import Any

import httptools

from trimtab.types.errors import ConnectionLost, MalformedReply, ProviderError

_MAX_HEAD_BYTES = 65_536
"""A reply's head larger than this is no provider's; Node's own limit is 16 KiB."""
_PAUSE_AT = 16_384
"""Buffered body bytes at which reading from the socket stops: a slow client slows the provider."""
READ_BYTES = 32_768
"""Size of the read buffer that one client's connections share: no socket hands over more at once."""


class Connection(asyncio.BufferedProtocol):
    """Sends one request at a time and hands out the reply as it arrives.

    Everything here runs on the event loop's thread. `closed` is set by the kernel's word, not by guesses.
    """

    __slots__ = (
        "_body",
        "_buffered",
        "_error",
        "_keep_alive",
        "_parser",
        "_paused",
        "_read_buffer",
        "_read_view",
        "_skip",
        "_transport",
        "_until_eof",
        "_waiter",
        "closed",
        "complete",
        "headers",
        "idle_since",
        "loop",
        "on_complete",
        "on_idle_lost",
        "received",
        "status",
        "used",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, buffer: bytearray) -> None:
        self.loop = loop
        self._read_buffer = buffer
        self._read_view = memoryview(buffer)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.on_idle_lost: Callable[[Connection], None] | None = None
        """Called when the provider closes the connection while nobody reads from it."""
        self.on_complete: Callable[[Connection], None] | None = None
        """Called when the rest of a reply arrives that nobody reads any more."""
        self._parser: Any = httptools.HttpResponseParser(self)
        self.closed = False
        self.used = 0
        """How many requests were sent: above one, the connection was reused."""
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._buffered = 0
        self.received = 0
        """Bytes of the present reply so far, head and framing included."""
        self.complete: bool = False
        """Whether the reply has arrived whole."""
        self._until_eof = False
        self._skip = False
        self._keep_alive = False
        self._paused = False
        self._error: ProviderError | None = None

    # --- asyncio's side -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> bytearray:
        """Lend the shared buffer; it is emptied before the loop runs anything else."""
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Feed the parser; whatever it cannot read ends the connection."""
        over = self.complete
        if over or self.used == 0:
            # Bytes nobody asked for: the two sides no longer agree where a reply begins.
            self._fail(MalformedReply("the provider sent bytes after the end of its reply"))
            return
        self.received += nbytes
        try:
            # Not a copy: the parser copies what it hands on, and keeps nothing.
            self._parser.feed_data(self._read_view[:nbytes])
        except httptools.HttpParserUpgrade:
            self._fail(MalformedReply("the provider tried to switch protocols"))
            return
        except httptools.HttpParserError as error:
            self._fail(MalformedReply(f"the reply is not HTTP/1.1: {error}"))
            return
        if self.status == 0 and self.received > _MAX_HEAD_BYTES:
            self._fail(MalformedReply(f"the reply's head is over {_MAX_HEAD_BYTES} bytes"))
            return
        if self.on_complete is not None and self.complete:
            self.on_complete(self)
            return
        if self._buffered > _PAUSE_AT and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Close on the provider's EOF; a reply framed by it is complete then."""
        if self._until_eof and not self.complete:
            self.complete = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end; an unfinished reply becomes an error."""
        self.closed = True
        if not self.complete and self._error is None and self.used:
            where = "before its head was complete" if self.status == 0 else "in the middle of its body"
            self._error = ConnectionLost(f"the provider closed the connection {where}")
        if self.on_idle_lost is not None:
            self.on_idle_lost(self)
        self._wake()
        # Parser and transport refer back to us: a cycle would wait for the garbage collector.
        self._parser = self._transport = None

    # --- httptools' side ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Refuse a second reply in the same read: it must not run into the one that was asked for."""
        if self.complete:
            raise MalformedReply("the provider sent bytes after the end of its reply")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header, its name lower-cased."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take the status; an interim (1xx) head is dropped."""
        status: int = self._parser.get_status_code()
        if status < 200:
            self._skip = True
            self.headers = []
            return
        self.status = status
        framed = status in (204, 304)
        for name, _ in self.headers:
            if name in (b"content-length", b"transfer-encoding"):
                framed = True
        self._until_eof = not framed

    def on_body(self, body: bytes) -> None:
        """Buffer a piece of the body."""
        self._body.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        """Note that the reply is whole."""
        if self._skip:
            self._skip = False
            return
        self.complete = True
        self._keep_alive = self._parser.should_keep_alive()

    # --- the client's side ----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write one whole request, head and body.

        Raises:
            ConnectionLost: the connection is closed already.
        """
        transport = self._transport
        if transport is None or self.closed or transport.is_closing():
            raise ConnectionLost("the provider closed the idle connection")
        if self.used:
            self._reset()
        self.used += 1
        transport.write(data)

    def arrival(self) -> asyncio.Future[None]:
        """Return a future that is done once something has arrived, or the connection has broken.

        Raises:
            ProviderError: it has broken already.
        """
        if (error := self._error) is not None:
            # A new one each time: one that is kept here would hold, by its traceback, whoever reads from here.
            raise type(error)(error.message)
        self._waiter = waiter = self.loop.create_future()
        return waiter

    def take_body(self) -> bytes | None:
        """Return what arrived of the body since the last call; empty at its end, None where one must wait."""
        body = self._body
        if not body:
            return b"" if self.complete else None
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def lingering(self) -> bool:
        """True where only the framing's end is missing: no body byte waits, and none was read too many."""
        return not self.complete and not self.closed and self._error is None and not self._body

    def discard(self) -> None:
        """Drop body bytes that nobody will read."""
        self._body.clear()
        self._buffered = 0

    def reusable(self) -> bool:
        """Tell whether the reply was read whole and the provider keeps the connection open."""
        transport = self._transport
        return (
            self.complete
            and not self.closed
            and not self._body
            and not self._until_eof
            and transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
            and self._keep_alive
        )

    @property
    def closing(self) -> bool:
        """Whether nothing can be sent any more, even if `connection_lost` has not been told yet."""
        transport = self._transport
        return self.closed or transport is None or transport.is_closing()

    @property
    def untouched(self) -> bool:
        """True while not one byte of the present reply has arrived."""
        return self.status == 0 and self.received == 0

    def abort(self) -> None:
        """Close the socket now, without waiting for the peer."""
        if self._transport is not None and not self.closed:
            self._transport.abort()

    # --- inside ---------------------------------------------------------------------------------------------

    def _fail(self, error: ProviderError) -> None:
        if self._error is None and not self.complete:
            self._error = error
        self.abort()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
