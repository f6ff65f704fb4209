"""The OpenAI dialect as a provider: OpenAI itself and everything compatible with it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import msgspec

from trimtab.providers.transport import Client, ClientOptions, Exchange
from trimtab.types import Clock, Completion, ConfigError, Done, Frame, ProviderSpec, Reply, ReplyHead, Request
from trimtab.types.errors import ConnectionLost, MalformedReply, ProviderError, StreamCut

from . import decode
from .hide import Hide
from .stream import ChunkReader, SseFramer, data_of
from .usage import ORDINARY, Nesting
from .wire import ModelsWire

_PATHS = {"chat": "/chat/completions", "embeddings": "/embeddings"}
_ERROR_BODY_BYTES = 65_536
_encode = msgspec.json.Encoder().encode


class OpenAIProvider:
    """Serves chat and embeddings through one base URL and key."""

    def __init__(self, spec: ProviderSpec, api_key: str, clock: Clock, max_reply_bytes: int) -> None:
        """Prepare connections; nothing is sent.

        Raises:
            ConfigError: the base URL or CA file cannot be used.
        """
        headers = list(spec.headers.items())
        configured = {name.lower() for name in spec.headers}
        if api_key and "authorization" not in configured:
            headers.append(("Authorization", f"Bearer {api_key}"))
        if "user-agent" not in configured:
            headers.append(("User-Agent", "trimtab"))
        self.name = spec.name
        self.endpoint = spec.base_url or "https://api.openai.com/v1"
        """Where its requests go."""
        self._spec = spec
        self._clock = clock
        self.hide = Hide((api_key, *spec.headers.values()))
        self._needs_done = bool(spec.options.get("done_marker", True))
        self.nesting = nesting_of(spec)
        self._client = Client(
            ClientOptions(
                base_url=self.endpoint,
                what=f"provider {spec.name!r}",
                connect_s=spec.deadlines.connect_s if spec.deadlines else 5.0,
                max_connections=spec.max_connections,
                proxy=spec.proxy,
                ca_file=spec.ca_file,
                headers=tuple(headers),
                max_reply_bytes=max_reply_bytes,
                reach=spec.reach,
            )
        )

    def open(self, request: Request) -> AbstractAsyncContextManager[Reply]:
        """Send a request; see `types.exchange.Provider.open`."""
        exchange = self._client.request(
            "POST", _PATHS[request.kind], _encode(request.body), connect_s=request.deadlines.connect_s
        )
        return _Open(self, request, exchange)

    async def models(self) -> list[str]:
        """Ask `/models`.

        Raises:
            ProviderError: no usable answer.
        """
        async with self._client.request("GET", "/models") as exchange:
            body = await exchange.body()
            if exchange.status != 200:
                raise decode.refusal(exchange.status, self.hide.body(body), None)
        try:
            return [m.id for m in msgspec.json.decode(body, type=ModelsWire).data]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedReply(f"the list of models cannot be read: {error}") from error

    async def aclose(self) -> None:
        """Close pooled connections."""
        await self._client.aclose()

    async def refused(self, exchange: Exchange) -> ProviderError:
        """Read an error reply into the error it means."""
        try:
            body = await exchange.body(_ERROR_BODY_BYTES)
        except ProviderError:
            body = b""  # the status alone says enough; its text broke off
        pause = decode.retry_after(
            exchange.header(b"retry-after"), exchange.header(b"retry-after-ms"), self._clock
        )
        return decode.refusal(exchange.status, self.hide.body(body[:_ERROR_BODY_BYTES]), pause)

    @property
    def needs_done(self) -> bool:
        """Whether a stream must end with `[DONE]`; option `done_marker = false` for servers that never send it."""
        return self._needs_done


class _Open:
    """The context around one exchange; itself the reply."""

    __slots__ = ("_exchange", "_provider", "_request", "head")

    def __init__(self, provider: OpenAIProvider, request: Request, exchange: Exchange) -> None:
        self._provider = provider
        self._request = request
        self._exchange = exchange
        self.head = ReplyHead()

    async def __aenter__(self) -> "_Open":
        exchange = self._exchange
        await exchange.__aenter__()
        status = exchange.status
        if not 200 <= status < 300:
            try:
                raise await self._provider.refused(exchange)
            finally:
                exchange.release()
        self.head = _head(status, exchange.headers)
        if not self._request.stream:
            return self
        kind = exchange.header(b"content-type").lower()
        if "text/event-stream" not in kind:
            try:
                beginning = self._provider.hide.body(await _beginning(exchange))[:80]
            finally:
                exchange.release()
            raise MalformedReply(
                f"the provider answered a streamed request with content type {kind or 'none'!r}, "
                f"not text/event-stream; it begins {beginning!r}"
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exchange.release()

    def received(self) -> int:
        return self._exchange.received()

    async def completion(self) -> Completion:
        exchange = self._exchange
        # Most answers are there by now: they are read without another wait.
        body = exchange.take() if exchange.complete else await exchange.body()
        assert body is not None, "a complete reply has its body"
        read = decode.completion if self._request.kind == "chat" else decode.embeddings
        try:
            return read(body, self._provider.nesting)
        except ProviderError:
            hidden = self._provider.hide.body(body)
            if hidden == body:
                raise
        return read(hidden, self._provider.nesting)  # the same error, without our key

    async def frames(self) -> AsyncIterator[Frame]:
        framer, reader, exchange = (
            SseFramer(),
            ChunkReader(self._provider.nesting, self._provider.hide),
            self._exchange,
        )
        take, feed, read = exchange.take, framer.feed, reader.read
        try:
            while (data := take()) != b"":
                if data is None:
                    await exchange.arrival()
                    continue
                for raw in feed(data):
                    frame = read(raw)
                    if reader.done:
                        exchange.ended = True
                        yield frame
                        return
                    yield frame
        except ConnectionLost as error:
            raise StreamCut("the provider's stream broke off before its end") from error
        if data_of(framer.rest) == b"[DONE]":
            pass  # the marker is there; only its blank line is missing
        elif not reader.finished or framer.rest.strip() or self._provider.needs_done:
            raise StreamCut("the provider's stream ended without its end marker")
        yield Frame(b"data: [DONE]\n\n", (Done(),))


def nesting_of(spec: ProviderSpec) -> Nesting:
    """Return what a provider's option `usage` says.

    Raises:
        ConfigError: it says something else than `Nesting` knows.
    """
    said = spec.options.get("usage")
    if not said:
        return ORDINARY
    try:
        return msgspec.convert(said, Nesting)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"provider {spec.name!r}: options.usage: {error}; see docs/how-to/prices.md for what it may say"
        ) from None


def _head(status: int, headers: list[tuple[bytes, bytes]]) -> ReplyHead:
    request_id, passed = "", []
    for name, value in headers:
        if name.startswith(b"x-ratelimit-"):
            passed.append((name.decode("latin-1"), value.decode("latin-1")))
        elif name == b"x-request-id" and not request_id:
            request_id = value.decode("latin-1")
    return ReplyHead(status, request_id, tuple(passed))


async def _beginning(exchange: Exchange) -> bytes:
    try:
        return await exchange.read()
    except ProviderError:
        return b""  # the content type is fault enough; the body broke off too
