"""Opening connections: plain, TLS, and through an HTTP proxy's CONNECT."""

import asyncio
import base64
import re
import ssl
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import msgspec

from trimtab.types import Reach
from trimtab.types.errors import AddressRefused, ConfigError, ConnectFailed, ConnectTimeout, TlsFailed

from .addresses import screened
from .connection import READ_BYTES, Connection

_URL = re.compile(r"[!-~]+")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go, and how: made once from a base URL."""

    tls: bool
    host: str
    port: int
    path: str
    """Prefix of every request's path, without a slash at its end."""
    authority: str
    """Value of the Host header."""


def parse_origin(base_url: str, what: str) -> Origin:
    """Take a base URL apart.

    Raises:
        ConfigError: it is no absolute http or https URL, or carries a user, query or fragment.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:  # no port, or no IPv6 address
        parts, port = urlsplit(""), None
    # A space or line break in it would stand in the head of every request.
    if parts.scheme not in ("http", "https") or not parts.hostname or _URL.fullmatch(base_url) is None:
        shown = repr(base_url) if "@" not in base_url else "(not shown)"
        raise ConfigError(f"{what}: base_url {shown} must look like https://host[:port]/path")
    if parts.username or parts.query or parts.fragment:
        raise ConfigError(f"{what}: base_url must have no user, query or fragment; put keys into api_key")
    tls = parts.scheme == "https"
    bare = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = 443 if tls else 80
    return Origin(
        tls=tls,
        host=parts.hostname,
        port=port or default,
        path=parts.path.rstrip("/"),
        authority=bare if port in (None, default) else f"{bare}:{port}",
    )


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Return a verifying context: the system's authorities, and those in `ca_file`.

    Raises:
        ConfigError: the file cannot be read as PEM certificates.
    """
    try:
        context = ssl.create_default_context()
        if ca_file:
            context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca_file {ca_file!r} cannot be used ({error}); it must hold PEM certificates"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach an origin."""

    origin: Origin
    context: ssl.SSLContext | None
    """None: plain HTTP."""
    proxy: str
    buffer: bytearray
    """The read buffer that all connections of one client share."""
    reach: Reach = "any"
    """Which addresses may be dialled."""


async def dial(route: Route, timeout_s: float) -> Connection:
    """Open a connection.

    Raises:
        ConnectFailed: refused, unreachable, or no such name.
        AddressRefused: the name leads where the route may not go.
        TlsFailed: the handshake failed or the certificate does not hold.
        ConnectTimeout: not open within `timeout_s` seconds.
    """
    loop = asyncio.get_running_loop()
    origin, context = route.origin, route.context
    try:
        async with asyncio.timeout(timeout_s):
            if route.proxy:
                return await _through_proxy(loop, route)
            if route.reach != "any":
                return await _to_screened(loop, route)
            return await _direct(loop, route, origin.host)
    except TimeoutError as error:
        raise ConnectTimeout(f"no connection to {origin.authority} within {timeout_s:g} s") from error
    except ssl.SSLError as error:
        raise TlsFailed(f"TLS with {origin.authority} failed: {error.reason or error}") from error
    except ConnectionError as error:
        if context is not None and not isinstance(error, ConnectionRefusedError):
            raise TlsFailed(f"{origin.authority} closed the connection during the TLS handshake") from error
        raise ConnectFailed(f"no connection to {origin.authority}: {error.strerror or error}") from error
    except OSError as error:
        raise ConnectFailed(f"no connection to {origin.authority}: {error.strerror or error}") from error


def read_buffer() -> bytearray:
    """Return a buffer for `Route`."""
    return bytearray(READ_BYTES)


async def _direct(loop: asyncio.AbstractEventLoop, route: Route, host: str) -> Connection:
    """Connect to `host`, a name or an address; the certificate must be the origin's."""
    _, protocol = await loop.create_connection(
        lambda: Connection(loop, route.buffer),
        host,
        route.origin.port,
        ssl=route.context,
        server_hostname=route.origin.host if route.context else None,
    )
    return protocol


async def _to_screened(loop: asyncio.AbstractEventLoop, route: Route) -> Connection:
    """Connect to one of the addresses that were screened, and never ask the resolver again."""
    origin = route.origin
    *others, last = await screened(origin.host, origin.port, route.reach, tls=origin.tls)
    for address in others:
        with suppress(OSError):
            return await _direct(loop, route, address)
    return await _direct(loop, route, last)


async def _through_proxy(loop: asyncio.AbstractEventLoop, route: Route) -> Connection:
    """Tunnel through a proxy (RFC 9110, section 9.3.6); plain targets are tunnelled too."""
    origin, context, proxy = route.origin, route.context, route.proxy
    if route.reach != "any":
        raise AddressRefused(
            f"the proxy would resolve {origin.host}, so its address cannot be checked; declare this provider in "
            "trimtab.toml"
        )
    at = urlsplit(proxy)
    if at.scheme != "http" or not at.hostname:
        raise ConnectFailed(f"proxy {proxy!r} must look like http://[user:password@]host:port")
    target = f"{origin.host}:{origin.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if at.username:
        secret = f"{unquote(at.username)}:{unquote(at.password or '')}"
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(secret.encode()).decode())
    transport, tunnel = await loop.create_connection(lambda: _Tunnel(loop), at.hostname, at.port or 3128)
    connection = Connection(loop, route.buffer)
    try:
        transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = await tunnel.answer
        through = transport if context is None else None
        if status == 200 and context is not None:
            through = await loop.start_tls(transport, connection, context, server_hostname=origin.host)
    except BaseException:  # a cancelled dial closes its socket too
        transport.abort()
        raise
    if status != 200 or through is None:
        transport.abort()
        raise ConnectFailed(f"the proxy {at.hostname} answered CONNECT {target} with {status or 'no status'}")
    if context is None:
        transport.set_protocol(connection)
    connection.connection_made(through)
    return connection


class _Tunnel(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[int] = loop.create_future()
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if self.answer.done():
            return
        if b"\r\n\r\n" in self._seen or len(self._seen) > 16_384:
            words = self._seen.split(b"\r\n", 1)[0].split(b" ", 2)
            self.answer.set_result(int(words[1]) if len(words) > 1 and words[1].isdigit() else 0)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(ConnectFailed("the proxy closed the connection"))
