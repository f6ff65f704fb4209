"""The one HTTP client for providers: pooled HTTP/1.1 connections whose sockets close when a task is cancelled."""

import asyncio
from collections import deque
from types import TracebackType

import msgspec

from trimtab.types import Reach
from trimtab.types.errors import ConfigError, ConnectionLost, ReplyTooLarge

from .connection import Connection
from .dial import Route, dial, parse_origin, read_buffer, tls_context

_LINGER_S = 1.0
"""How long the framing of a reply whose content has ended may take to end too, before the socket is closed."""
_STALE_S = 0.1
"""A pooled connection that is closed within this time of our writing was closing already; later, it was asked."""
_IDLE_S = 50.0
"""Pooled connections older than this are not used again; common load balancers close at 60 s."""


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider's connections have in common."""

    base_url: str
    what: str = "provider"
    """Name for error messages."""
    connect_s: float = 5.0
    max_connections: int = 1000
    proxy: str = ""
    ca_file: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every request; secrets among them never reach a log."""
    max_reply_bytes: int = 64 * 1024 * 1024
    reach: Reach = "any"
    """Which addresses the base URL may lead to, at every connection."""
    content_type: str = "application/json"
    """Of the bodies that are sent."""


class Client:
    """Sends requests to one origin. Redirects are not followed, nothing is decompressed, no proxy is guessed."""

    def __init__(self, options: ClientOptions) -> None:
        """Prepare; nothing is opened.

        Raises:
            ConfigError: the base URL, the CA file or a header cannot be used.
        """
        self.options = options
        self.origin = parse_origin(options.base_url, options.what)
        self._idle: list[Connection] = []
        self._heads: dict[tuple[str, str], bytes] = {}
        """Request heads up to the body's length; paths are few, and never a caller's."""
        self._all: set[Connection] = set()
        """Every open connection: busy, idle or lingering."""
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._route = Route(
            origin=self.origin,
            context=tls_context(options.ca_file) if self.origin.tls else None,
            proxy=options.proxy,
            buffer=read_buffer(),
            reach=options.reach,
        )
        lines = [f"Host: {self.origin.authority}", "Accept: */*", "Accept-Encoding: identity"]
        for name, value in options.headers:
            if any(c in "\r\n\0" for c in name + value):
                raise ConfigError(f"{options.what}: header {name!r} holds a line break or NUL; remove it")
            if any(ord(c) > 255 for c in name + value):
                raise ConfigError(
                    f"{options.what}: header {name!r} holds characters that HTTP cannot carry (beyond Latin-1); "
                    "was it copied from a formatted page?"
                )
            lines.append(f"{name}: {value}")
        self._common = "\r\n".join(lines).encode("latin-1", "strict") + b"\r\n"

    def request(
        self, method: str, path: str, body: bytes = b"", *, connect_s: float | None = None, extra: bytes = b""
    ) -> "Exchange":
        """Return an exchange to enter: `async with client.request(...) as exchange`.

        `extra` holds headers of this request alone, each with a line break before it; whoever made them checked them.
        """
        head = self._heads.get((method, path))
        if head is None:
            line = f"{method} {self.origin.path}{path} HTTP/1.1\r\n".encode()
            kind = self.options.content_type.encode("latin-1")
            head = b"%b%bContent-Type: %b\r\nContent-Length: " % (line, self._common, kind)
            self._heads[method, path] = head
        connect_s = self.options.connect_s if connect_s is None else connect_s
        return Exchange(self, b"".join((head, b"%d" % len(body), extra, b"\r\n\r\n", body)), connect_s)

    def reuse(self) -> Connection | None:
        """Return an idle connection, if there is one fresh enough."""
        while self._idle:
            connection = self._idle.pop()
            connection.on_idle_lost = None
            if not connection.closing and connection.idle_since > connection.loop.time() - _IDLE_S:
                return connection
            self._forget(connection)
        return None

    async def take(self, connect_s: float) -> Connection:
        """Return an idle connection, or a new one; waits while `max_connections` are busy.

        Raises:
            ProviderError: no connection could be opened.
        """
        while len(self._all) + self._opening >= self.options.max_connections:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._let_one_in()  # we were given the place, and leave without using it
                raise
            if (connection := self.reuse()) is not None:
                return connection
        return await self.fresh(connect_s)

    async def fresh(self, connect_s: float) -> Connection:
        """Open a new connection, within `connect_s` seconds."""
        self._opening += 1
        try:
            connection = await dial(self._route, connect_s)
        except BaseException:  # a cancelled dial gives its place back too
            self._let_one_in()
            raise
        finally:
            self._opening -= 1
        self._all.add(connection)
        return connection

    @property
    def idle(self) -> int:
        """How many connections are pooled, ready for the next request."""
        return len(self._idle)

    def give_back(self, connection: Connection) -> None:
        """Pool a connection whose reply was read whole; close any other."""
        if connection.reusable():
            connection.idle_since = connection.loop.time()
            connection.on_idle_lost = self._lost
            self._idle.append(connection)
            if self._waiting:
                self._let_one_in()
        else:
            self._forget(connection)

    def linger(self, connection: Connection) -> None:
        """Wait, beside everything else, for the end of a reply whose content is complete; then pool or close."""
        timer = connection.loop.call_later(_LINGER_S, connection.abort)

        def settled(done: Connection) -> None:
            timer.cancel()
            done.on_complete = done.on_idle_lost = None
            done.discard()
            self.give_back(done)

        connection.on_complete = connection.on_idle_lost = settled

    def _forget(self, connection: Connection) -> None:
        connection.abort()
        self._all.discard(connection)
        self._let_one_in()

    def _lost(self, connection: Connection) -> None:
        connection.on_idle_lost = None
        if connection in self._idle:
            self._idle.remove(connection)
            self._forget(connection)

    def _let_one_in(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def aclose(self) -> None:
        """Close every connection; exchanges still under way break off."""
        self._idle.clear()
        for connection in tuple(self._all):
            connection.on_idle_lost = connection.on_complete = None
            connection.abort()
        self._all.clear()
        await asyncio.sleep(0)  # the loop closes sockets in its next turn


class Exchange:
    """One request and its reply. Leaving the context before the reply's end closes the socket at once."""

    __slots__ = ("_client", "_connect_s", "_connection", "_data", "_received", "ended", "status")

    def __init__(self, client: Client, data: bytes, connect_s: float) -> None:
        self._client = client
        self._connect_s = connect_s
        self._data = data
        self._connection: Connection | None = None
        self._received = 0
        self.status = 0
        self.ended = False
        """Set by the reader where the content says that nothing follows: the connection may be kept then."""

    async def __aenter__(self) -> "Exchange":
        """Send, and wait for the reply's head.

        Raises:
            ProviderError: no connection, or no usable head.
        """
        client = self._client
        connection = client.reuse()
        if connection is None:
            connection = await client.take(self._connect_s)
        self._connection = connection
        try:
            try:
                sent_at = connection.loop.time()
                connection.send(self._data)
                while not connection.status:
                    await connection.arrival()
            except ConnectionLost:
                # A pooled connection that the provider closed as we wrote: nothing was answered, so ask once more.
                late = connection.loop.time() - sent_at > _STALE_S
                if connection.used < 2 or not connection.untouched or late:
                    raise
                connection = await self._again()
            self.status = connection.status
        except BaseException:  # a cancelled wait closes its socket too
            self.release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Pool the connection if the reply was read whole, else close its socket."""
        self.release()

    async def _again(self) -> Connection:
        """Ask on a fresh connection."""
        self.release()
        self._connection = connection = await self._client.fresh(self._connect_s)
        connection.send(self._data)
        while not connection.status:
            await connection.arrival()
        return connection

    def release(self) -> None:
        """Let the connection go; what leaving the context does."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self.ended and connection.lingering:
            self._client.linger(connection)
        else:
            self._client.give_back(connection)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The reply's headers, names lower-cased, in order."""
        return self._live().headers

    def header(self, name: bytes) -> str:
        """Return the first header of that (lower-case) name, or an empty text."""
        for key, value in self._live().headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    @property
    def complete(self) -> bool:
        """Whether the reply has arrived whole; then the next `take` returns all that is left of its body."""
        connection = self._connection
        return connection is not None and connection.complete

    def received(self) -> int:
        """Return how many bytes of the reply have arrived, head and framing included."""
        return self._connection.received if self._connection is not None else 0

    async def read(self) -> bytes:
        """Return the next bytes of the body; empty at its end.

        Raises:
            ReplyTooLarge: the body is over the client's `max_reply_bytes`.
            ProviderError: the body broke off.
        """
        while (data := self.take()) is None:
            await self.arrival()
        return data

    def take(self) -> bytes | None:
        """Return what has arrived of the body, without waiting: empty at its end, None while nothing is there.

        Raises:
            ReplyTooLarge: the body is over the client's `max_reply_bytes`.
        """
        data = (self._connection or self._live()).take_body()
        if data:
            self._received += len(data)
            limit = self._client.options.max_reply_bytes
            if self._received > limit:
                raise ReplyTooLarge(f"the provider's reply is over {limit} bytes (max_reply_bytes)")
        return data

    def arrival(self) -> asyncio.Future[None]:
        """Return a future that is done once there is more to `take`, or the connection has broken.

        Raises:
            ProviderError: it has broken already.
        """
        return self._live().arrival()

    async def body(self, limit: int | None = None) -> bytes:
        """Return the whole body, or its first `limit` bytes.

        Raises:
            ProviderError: as `read`.
        """
        first = await self.read()
        if not first:
            return b""
        pieces = [first]
        while limit is None or self._received < limit:
            piece = await self.read()
            if not piece:
                break
            pieces.append(piece)
        return (first if len(pieces) == 1 else b"".join(pieces))[:limit]

    def _live(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the exchange is closed; read inside its `async with` block")
        return self._connection
