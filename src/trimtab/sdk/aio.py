"""The client for asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self, Unpack

import msgspec

from trimtab.types import RetryPolicy

from .answer import (
    Answer,
    Assembler,
    Embeddings,
    build_answer,
    read_answer,
    read_embeddings,
    read_object,
)
from .errors import ApiError, GatewayLost, StreamBroken, error_text, from_reply
from .request import FeedbackFields, Prompt, chat_body, encode, find_api_key, find_base_url, pause_s
from .sse import EventParser
from .transport import HttpReply, HttpRequest, HttpTransport, Transport

DEFAULT_TIMEOUT_S = 630.0
"""A little over the gateway's own limit for a call (600 s), so that its error arrives rather than ours."""


class AsyncClient:
    """Calls a gateway. Use as `async with AsyncClient() as client:`, within one event loop."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        model: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Make a client; nothing is sent.

        Args:
            base_url: the gateway's address with `/v1`; else TRIMTAB_BASE_URL, else http://127.0.0.1:8400/v1.
            api_key: sent as a bearer token; else TRIMTAB_API_KEY, else none.
            model: what to call where a call names no model: `provider/model`, `route/NAME`, or a bare name.
            timeout_s: for a whole call, retries included, in seconds.
            retry: how often, and how soon, to send again what certainly was not done.
            transport: carries requests in place of HTTP; `base_url` and `api_key` are unused then.

        Raises:
            ValueError: the address or the key cannot be used.
        """
        self.transport = transport or HttpTransport(find_base_url(base_url), find_api_key(api_key))
        self.model = model
        self.timeout_s = timeout_s
        self.retry = retry or RetryPolicy()

    async def generate(
        self,
        prompt: Prompt,
        *,
        model: str = "",
        system: str = "",
        timeout_s: float | None = None,
        **params: object,
    ) -> Answer:
        """Return a model's answer.

        Args:
            prompt: the user's words, or a list of OpenAI chat messages.
            model: `provider/model`, `route/NAME`, or a bare model name.
            system: put before the messages as the system message.
            timeout_s: for the whole call, in seconds; the client's where omitted.
            params: any field of OpenAI's chat completions: `temperature`, `max_tokens`, `tools`, ...

        Raises:
            ApiError: there is no answer; its subclasses and `code` say why.
        """
        body = chat_body(prompt, system, {"model": model or self.model, **params}, stream=False)
        raw, headers = await self._call("POST", "/chat/completions", body, timeout_s)
        return read_answer(raw, headers)

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str = "",
        system: str = "",
        timeout_s: float | None = None,
        **params: object,
    ) -> "AsyncStream":
        """Return a stream of a model's answer; arguments as for `generate`. Sent when first iterated."""
        body = chat_body(prompt, system, {"model": model or self.model, **params}, stream=True)
        return AsyncStream(self, HttpRequest(**self._request("POST", "/chat/completions", body, timeout_s)))

    async def embed(self, texts: str | Sequence[str], *, model: str = "", **params: object) -> Embeddings:
        """Return a vector for each text.

        Raises:
            ApiError: there is no answer.
        """
        given = [texts] if isinstance(texts, str) else list(texts)
        body = encode({"model": model or self.model, **params, "input": given})
        return read_embeddings(*await self._call("POST", "/embeddings", body, idempotent=True))

    async def feedback(
        self, call_id: str, *, score: float | None = None, comment: str = "", **more: Unpack[FeedbackFields]
    ) -> str:
        """Judge a call; return the feedback's id.

        Args:
            call_id: `Answer.call_id`.
            score: any number; by custom 1 is good and 0 is bad.
            comment: in words.
            more: see `FeedbackFields`.

        Raises:
            ApiError: it was not taken.
        """
        body = encode({"call_id": call_id, "score": score, "comment": comment or None, **more})
        raw, headers = await self._call("POST", "/feedback", body)
        return str(read_object(raw, headers).get("id", ""))

    async def models(self) -> list[str]:
        """Return the names of the models that can be called.

        Raises:
            ApiError: there is no answer.
        """
        raw, headers = await self._call("GET", "/models", b"", idempotent=True)
        rows = read_object(raw, headers).get("data")
        return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row] if rows else []

    async def aclose(self) -> None:
        """Close connections; further calls open new ones."""
        await self.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def _request(self, method: str, path: str, body: bytes, timeout_s: float | None) -> dict[str, Any]:
        limit = self.timeout_s if timeout_s is None else timeout_s
        return {"method": method, "path": path, "body": body, "timeout_s": limit}

    async def _call(
        self, method: str, path: str, body: bytes, timeout_s: float | None = None, *, idempotent: bool = False
    ) -> tuple[bytes, dict[str, str]]:
        request = HttpRequest(**self._request(method, path, body, timeout_s))
        async with self.open(request, idempotent=idempotent) as reply:
            return await reply.read(), reply.headers

    @asynccontextmanager
    async def open(self, request: HttpRequest, *, idempotent: bool = False) -> AsyncIterator[HttpReply]:
        """Send a request, again where that is safe, and yield a reply of status 200 to 299.

        Raises:
            ApiError: there is none.
        """
        deadline = time.monotonic() + request.timeout_s
        async with AsyncExitStack() as opened:
            tries = 0
            while True:
                try:
                    reply = await opened.enter_async_context(_accepted(self.transport, request))
                    break
                except ApiError as error:
                    tries += 1
                    pause = pause_s(error, tries, self.retry, idempotent=idempotent)
                    left_s = deadline - time.monotonic() - (pause or 0)
                    if pause is None or left_s <= 0:
                        raise
                    await asyncio.sleep(pause)
                    request = _with_timeout(request, left_s)
            yield reply


class AsyncStream:
    """A streamed answer: iterate for its pieces of text; afterwards `answer` holds all of it.

    Leaving its context, or `aclose`, before the end cancels the call upstream.
    """

    def __init__(self, client: AsyncClient, request: HttpRequest) -> None:
        self._client = client
        self._request = request
        self._pieces = self._read()
        self._answer: Answer | None = None

    @property
    def answer(self) -> Answer:
        """The whole answer.

        Raises:
            RuntimeError: the stream has not come to its end.
        """
        if self._answer is None:
            raise RuntimeError("the stream has not come to its end; iterate over it first")
        return self._answer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return await self._pieces.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop; what has not arrived by now is cancelled upstream."""
        await self._pieces.aclose()

    async def _read(self) -> AsyncGenerator[str, None]:
        parser, parts = EventParser(), Assembler()
        async with self._client.open(self._request) as reply:
            call_id = reply.headers.get("x-trimtab-call-id", "")
            try:
                async for chunk in reply.chunks():
                    for data in parser.feed(chunk):
                        if data == b"[DONE]":
                            reply.ended = True
                            self._answer = build_answer(parts.completion(), reply.headers)
                            return
                        piece = parts.add(_chunk(data, call_id, parts))
                        if piece:
                            yield piece
            except GatewayLost as error:
                raise StreamBroken(error.message, call_id=call_id, partial=parts.text) from None
            raise StreamBroken("the stream ended without its end marker", call_id=call_id, partial=parts.text)


def _chunk(data: bytes, call_id: str, parts: Assembler) -> dict[str, Any]:
    """Return a chunk's object.

    Raises:
        StreamBroken: it is an error event.
    """
    chunk = read_object(data, {"x-trimtab-call-id": call_id})
    if chunk.get("error"):
        message, code = error_text(data)
        raise StreamBroken(
            message or "the gateway ended the stream with an error",
            code=code,
            call_id=call_id,
            partial=parts.text,
        )
    return chunk


@asynccontextmanager
async def _accepted(transport: Transport, request: HttpRequest) -> AsyncIterator[HttpReply]:
    async with transport.open(request) as reply:
        if not 200 <= reply.status < 300:
            raise from_reply(reply.status, reply.headers, await reply.read())
        yield reply


def _with_timeout(request: HttpRequest, timeout_s: float) -> HttpRequest:
    return msgspec.structs.replace(request, timeout_s=timeout_s)
