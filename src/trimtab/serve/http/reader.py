"""Bytes in, requests out: what llhttp finds, checked for what it lets through."""

from typing import TYPE_CHECKING, Any, Final

import httptools

from .exchange import Exchange
from .head import Headers, Target
from .limits import HEAD_BYTES, HEADERS, SLICE_BYTES

if TYPE_CHECKING:
    from .connection import Connection

_ASGI: Final = {"version": "3.0", "spec_version": "2.5"}
_CHECKED = frozenset({b"host", b"expect", b"transfer-encoding"})


class Refused(Exception):
    """Bytes that are no request, or none that any application will see."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Reader:
    """Parses what arrives on one connection, and hands it each request whose head is complete.

    The methods whose names begin with `on_` are llhttp's to call.
    """

    __slots__ = ("_connection", "_headers", "_parser", "_stalled", "_url", "final", "incoming")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._parser: Any = httptools.HttpRequestParser(self)
        self._headers: Headers = []
        """Those of the head that is arriving, or of a trailer, which are dropped."""
        self._url = b""
        self._stalled = 0
        """Bytes since something came of them: a head, or a piece of a body."""
        self.incoming: Exchange | None = None
        """The request whose body is arriving."""
        self.final = False
        """A request said that none will follow it."""

    @property
    def in_head(self) -> bool:
        """Whether a request's head has begun and is not complete."""
        return bool(self._url)

    def feed(self, data: bytes) -> None:
        """Parse at most `SLICE_BYTES`.

        Raises:
            Refused: they are no request; nothing can be parsed after them.
        """
        parser = self._parser
        while True:
            try:
                parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._decline(parser) + data[upgrade.args[0] :]
                self._parser = parser = httptools.HttpRequestParser(self)
                continue
            except httptools.HttpParserError as error:
                self._raise(error)
            break
        if self._url or self.incoming is not None:
            self._stalled += len(data)
            if self._stalled > HEAD_BYTES + SLICE_BYTES:  # a slice may have begun with something else
                raise Refused(431, f"a request's head, its trailer or a chunk's is over {HEAD_BYTES} bytes")

    def close(self) -> None:
        """Let go of what refers back to us: a cycle would wait for the garbage collector."""
        self._parser = self.incoming = None
        del self._connection

    def _raise(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        # Never `raise cause`: an exception whose traceback holds a frame that holds it is a cycle.
        if isinstance(cause, Refused):
            raise Refused(cause.status, str(cause)) from None
        if isinstance(error, httptools.HttpParserCallbackError):
            # The loop logs it, and closes the connection.
            raise RuntimeError("a fault of the server's own") from cause  # noqa: TRY004 - no type is at fault
        if self.final and self.incoming is None:
            return  # what follows a last request is of no interest (RFC 9112, section 9.6)
        raise Refused(400, f"this is not HTTP/1.1: {error}") from None

    def _decline(self, parser: Any) -> bytes:  # noqa: ANN401 - httptools has no types
        """Return the head that arrived without its offer of another protocol, to be parsed again.

        An offer is declined by going on as if it were not there (RFC 9110, section 7.8); llhttp, once it saw one,
        would take the body for the other protocol.
        """
        line = b"%b %b HTTP/%b" % (parser.get_method(), self._url, parser.get_http_version().encode())
        headers = [b"%b: %b" % header for header in self._headers if header[0] != b"upgrade"]
        self._url, self._headers = b"", []
        return b"\r\n".join([line, *headers, b"", b""])

    # --- llhttp's side --------------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        """Collect the target; it may come in pieces."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """Hand the request on; its body follows."""
        parser, connection = self._parser, self._connection
        method: str = parser.get_method().decode("ascii")
        if parser.should_upgrade():
            if method == "CONNECT":
                raise Refused(400, "CONNECT is for proxies; this is a server of its own")
            return  # comes again, see `_decline`
        url, headers = self._url, self._headers
        if self._stalled > HEAD_BYTES - SLICE_BYTES:
            self._check_size()
        self._url, self._headers, self._stalled = b"", [], 0
        version: str = parser.get_http_version()
        server = connection.server
        try:
            target = server.target(url)
        except ValueError as error:
            raise Refused(400, str(error)) from None
        expects = _check(version, headers, target)
        exchange = Exchange(
            connection,
            {
                "type": "http",
                "asgi": _ASGI,
                "http_version": version,
                "method": method,
                "scheme": "http",
                "path": target.path,
                "raw_path": target.raw_path,
                "query_string": target.query,
                "root_path": "",
                "headers": headers,
                "client": connection.client,
                "server": server.address,
            },
        )
        if expects:
            exchange.expects = True
        if not parser.should_keep_alive():
            exchange.keep_alive = False
            self.final = True
        self.incoming = exchange
        connection.take(exchange)

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body on."""
        self._stalled = 0
        incoming = self.incoming
        if incoming is not None:
            incoming.feed(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        incoming = self.incoming
        if incoming is not None:
            self.incoming = None
            self._stalled = 0
            if self._headers:
                self._headers = []  # a trailer's; the next request's come on top of nothing
            incoming.complete()
            if self.final:
                self._connection.hush()

    def _check_size(self) -> None:
        size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)
        if size > HEAD_BYTES:
            raise Refused(431, f"the request's head is over {HEAD_BYTES} bytes")


def _check(version: str, headers: Headers, target: Target) -> bool:
    """Refuse what llhttp lets through; return whether the client waits for `100 Continue`.

    Raises:
        Refused: the request's end, or whom it is for, could be read in two ways.
    """
    if len(headers) > HEADERS:
        raise Refused(431, f"the request has over {HEADERS} headers")
    checked = [header for header in headers if header[0] in _CHECKED]
    if len(checked) == 1 and version == "1.1" and checked[0][0] == b"host" and not target.host:
        return False  # nearly every request
    old = version != "1.1"
    if old and version != "1.0":
        raise Refused(505, f"HTTP/{version} is not spoken here; HTTP/1.1 and HTTP/1.0 are")
    hosts, expects = 0, False
    for name, value in checked:
        if name == b"host":
            hosts += 1
        elif name == b"expect":
            expects = value.lower() == b"100-continue" and not old
        elif old or value.lower() != b"chunked":
            raise Refused(501, "of transfer codings only `chunked` is taken, and that of HTTP/1.1 alone")
    if hosts > 1 or not (hosts or old):
        raise Refused(400, "a request has one Host header")
    if target.host:
        headers[:] = [header for header in headers if header[0] != b"host"]
        headers.append((b"host", target.host))
    return expects
