"""A streamed answer, for asyncio."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from .answer import Answer, Assembler, build_answer, read_object
from .errors import GatewayLost, StreamBroken, error_text
from .sse import EventParser
from .transport import HttpReply, HttpRequest

Send = Callable[[HttpRequest], AbstractAsyncContextManager[HttpReply]]


class AsyncStream:
    """A streamed answer: iterate for its pieces of text; afterwards `answer` holds all of it.

    Leaving its context, or `aclose`, before the end cancels the call upstream.
    """

    def __init__(self, send: Send, request: HttpRequest) -> None:
        self._send = send
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
        async with self._send(self._request) as reply:
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
