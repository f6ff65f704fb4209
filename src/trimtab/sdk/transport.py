"""How requests reach a gateway: the port, and its implementation over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from trimtab import __version__
from trimtab.types import ConnectFailed, ConnectTimeout, MalformedReply, ProviderError, TlsFailed

from .errors import ApiError, CallTimedOut, GatewayLost, GatewayUnreachable, MalformedAnswer

if TYPE_CHECKING:
    from trimtab.providers.transport import Client as HttpClient
    from trimtab.providers.transport import Exchange

CONNECT_TIMEOUT_S = 5.0

MAX_REPLY_BYTES = 1 << 30
"""The gateway has its own limit; this one only keeps a stranger from filling the memory."""


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a gateway."""

    method: str
    path: str
    """Below the base URL: `/chat/completions`."""
    body: bytes = b""
    """JSON; empty for none."""
    timeout_s: float
    """For the whole exchange."""
    trace_parent: str = ""
    """W3C trace context: sent as the header `traceparent`; empty for none."""


class HttpReply(Protocol):
    """An open reply."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    ended: bool
    """Set by the reader once the content says that nothing follows; leaving then abandons nothing."""

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            ApiError: it did not arrive whole.
        """
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            ApiError: while iterating: it did not arrive whole.
        """
        ...


class Transport(Protocol):
    """Carries requests to a gateway: over HTTP, or inside the process."""

    def open(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpReply]:
        """Send a request; entering yields the reply as soon as its head is there, whatever its status.

        Leaving the context, or cancelling the task, abandons the call at once.

        Raises:
            ApiError: there is no reply.
        """
        ...

    async def aclose(self) -> None:
        """Close pooled connections."""
        ...


class HttpTransport:
    """The transport over HTTP/1.1: pooled connections, no redirects, no proxy but the one given."""

    __slots__ = ("_api_key", "_base_url", "_ca_file", "_client", "_loop", "_proxy")

    def __init__(self, base_url: str, api_key: str = "", *, proxy: str = "", ca_file: str = "") -> None:
        """Make a transport; nothing is sent.

        Args:
            base_url: the gateway's address with `/v1`.
            api_key: sent as a bearer token; empty for none.
            proxy: `http://host:port`; empty for none. Environment variables are not read.
            ca_file: PEM certificates to trust in place of the system's; empty for the system's.
        """
        self._base_url = base_url
        self._api_key = api_key
        self._proxy = proxy
        self._ca_file = ca_file
        self._client: HttpClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"HttpTransport({self._base_url!r})"

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[HttpReply]:
        """Send a request; see `Transport.open`."""
        deadline = asyncio.get_running_loop().time() + request.timeout_s
        extra = b"\r\ntraceparent: " + request.trace_parent.encode() if request.trace_parent else b""
        exchange = self._http().request(request.method, request.path, request.body, extra=extra)
        try:
            async with asyncio.timeout_at(deadline):
                await exchange.__aenter__()
        except (ProviderError, TimeoutError) as error:
            raise self._no_reply(error) from None
        reply = _Reply(exchange, deadline)
        try:
            yield reply
        finally:
            exchange.ended = reply.ended
            await exchange.__aexit__(None, None, None)

    async def aclose(self) -> None:
        """Close pooled connections."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _http(self) -> "HttpClient":
        loop = asyncio.get_running_loop()
        # Connections belong to the loop that opened them: another loop, or a forked child, starts anew.
        if self._client is None or self._loop is not loop:
            from trimtab.providers.transport import Client, ClientOptions

            headers = [("User-Agent", f"trimtab-python/{__version__}")]
            if self._api_key:
                headers.append(("Authorization", f"Bearer {self._api_key}"))
            options = ClientOptions(
                base_url=self._base_url,
                what="gateway",
                connect_s=CONNECT_TIMEOUT_S,
                proxy=self._proxy,
                ca_file=self._ca_file,
                headers=tuple(headers),
                max_reply_bytes=MAX_REPLY_BYTES,
            )
            self._client, self._loop = Client(options), loop
        return self._client

    def _no_reply(self, error: Exception) -> ApiError:
        if isinstance(error, TimeoutError):
            return CallTimedOut(f"no answer from {self._base_url} in time; pass a longer `timeout_s`")
        if isinstance(error, ConnectFailed | ConnectTimeout):
            return GatewayUnreachable(f"{error}; is a gateway running? (`trimtab up` starts one)")
        if isinstance(error, TlsFailed):
            return GatewayUnreachable(str(error), retryable=False)
        if isinstance(error, MalformedReply):
            return MalformedAnswer(f"what answers at {self._base_url} is no HTTP server: {error}")
        return GatewayLost(f"the connection to {self._base_url} broke before the answer: {error}")


class _Reply:
    """A reply over HTTP."""

    __slots__ = ("_deadline", "_exchange", "ended", "headers", "status")

    def __init__(self, exchange: "Exchange", deadline: float) -> None:
        self._exchange = exchange
        self._deadline = deadline
        self.ended = False
        self.status = exchange.status
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers}

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout_at(self._deadline):
                    chunk = await self._exchange.read()
            except (ProviderError, TimeoutError) as error:
                raise self._cut(error) from None
            if not chunk:
                return
            yield chunk

    def _cut(self, error: Exception) -> ApiError:
        call_id = self.headers.get("x-trimtab-call-id", "")
        if isinstance(error, TimeoutError):
            return CallTimedOut(
                "the answer was not complete in time; pass a longer `timeout_s`", call_id=call_id
            )
        return GatewayLost(f"the connection broke in the middle of the answer: {error}", call_id=call_id)
