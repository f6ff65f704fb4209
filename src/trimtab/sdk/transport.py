"""How requests reach a gateway: the port, and its implementation over HTTP."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import msgspec

from trimtab import __version__

from .errors import ApiError, CallTimedOut, GatewayLost, GatewayUnreachable

if TYPE_CHECKING:
    from pyreqwest.client import Client as HttpClient
    from pyreqwest.exceptions import RequestError
    from pyreqwest.response import Response

CONNECT_TIMEOUT_S = 5.0


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a gateway."""

    method: str
    path: str
    """Below the base URL: `/chat/completions`."""
    body: bytes = b""
    """JSON; empty for none."""
    timeout_s: float
    """For the whole exchange."""


class HttpReply(Protocol):
    """An open reply."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""

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
    """The transport over HTTP/1.1, with pooled connections. Bound to the event loop that uses it first."""

    __slots__ = ("_api_key", "_base_url", "_client")

    def __init__(self, base_url: str, api_key: str = "") -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._client: HttpClient | None = None

    def __repr__(self) -> str:
        return f"HttpTransport({self._base_url!r})"

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[HttpReply]:
        """Send a request; see `Transport.open`."""
        from pyreqwest.exceptions import RequestError

        builder = self._http().request(request.method, self._base_url + request.path)
        builder = builder.timeout(timedelta(seconds=max(request.timeout_s, 0.001)))
        if self._api_key:
            builder = builder.header("authorization", f"Bearer {self._api_key}", is_sensitive=True)
        if request.body:
            builder = builder.header("content-type", "application/json").body_bytes(request.body)
        # Without a limit of 1, the whole stream is buffered before the first byte is handed on.
        call = builder.streamed_read_buffer_limit(1).build_streamed()
        try:
            response = await call.__aenter__()
        except RequestError as error:
            raise self._no_reply(error) from None
        try:
            yield _Reply(response)
        finally:
            await call.__aexit__(None, None, None)

    async def aclose(self) -> None:
        """Close pooled connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _http(self) -> "HttpClient":
        if self._client is None:
            self._client = _make_client(self._base_url)
        return self._client

    def _no_reply(self, error: "RequestError") -> ApiError:
        """Tell apart what the library does not: only `client error (Connect)` means nothing was sent."""
        causes = [cause["message"] for cause in error.details["causes"] or ()]
        last = causes[-1] if causes else error.message
        if "client error (Connect)" in causes:
            return GatewayUnreachable(
                f"no gateway answers at {self._base_url}: {last}; is it running? (`trimtab up` starts one)"
            )
        if isinstance(error, TimeoutError):
            return CallTimedOut(f"no answer from {self._base_url} in time; pass a longer `timeout_s`")
        return GatewayLost(f"the connection to {self._base_url} broke before the answer: {last}")


class _Reply:
    """A reply of pyreqwest's."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: "Response") -> None:
        self._response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        from pyreqwest.exceptions import RequestError

        reader = self._response.body_reader
        while True:
            try:
                chunk = await reader.read_chunk()
            except RequestError as error:
                raise _cut(error, self.headers) from None
            if chunk is None:
                return
            yield bytes(chunk)


def _cut(error: "RequestError", headers: dict[str, str]) -> ApiError:
    call_id = headers.get("x-trimtab-call-id", "")
    if isinstance(error, TimeoutError):
        return CallTimedOut("the answer was not complete in time; pass a longer `timeout_s`", call_id=call_id)
    return GatewayLost("the connection broke in the middle of the answer", call_id=call_id)


def _make_client(base_url: str) -> "HttpClient":
    """The SDK's one factory of HTTP clients."""
    # The providers' factory is for upstreams, with the gateway's deadlines and proxies; an application's
    # client needs neither, and must import no provider.
    from pyreqwest.client import ClientBuilder

    builder: Any = (
        ClientBuilder()
        .user_agent(f"trimtab-python/{__version__}")
        .follow_redirects(enable=False)
        .referer(enable=False)
        .http1_only()
        .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT_S))
    )
    if _is_loopback(urlsplit(base_url).hostname or ""):
        builder = builder.no_proxy()
    client: HttpClient = builder.build()
    return client


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
