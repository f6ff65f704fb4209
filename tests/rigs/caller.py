"""A client on raw sockets, which remembers exactly how far each answer came."""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_CALL_ID = re.compile(rb"\r\nx-trimtab-call-id: ([0-9a-f-]+)", re.IGNORECASE)
_TOKENS_IN = re.compile(rb'"prompt_tokens": ?(\d+)')
_TOKENS_OUT = re.compile(rb'"completion_tokens": ?(\d+)')
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Question:
    """One call to make."""

    marker: str
    """Stands in the user's message: by it the call is found again, upstream and in the store."""
    stream: bool = False
    wants_usage: bool = True
    model: str = "openai/m"
    max_tokens: int = 0
    usage: tuple[int, int] | None = None
    """Tokens in and out that the provider will report, where that is known."""

    def body(self) -> bytes:
        fields: dict[str, Any] = {
            "model": self.model,
            "stream": self.stream,
            "messages": [{"role": "user", "content": self.marker}],
        }
        if self.stream and self.wants_usage:
            fields["stream_options"] = {"include_usage": True}
        if self.max_tokens:
            fields["max_tokens"] = self.max_tokens
        return msgspec.json.encode(fields)

    def http(self) -> bytes:
        body = self.body()
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json"
        return f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@dataclass(slots=True)
class Seen:
    """What a client saw of one call."""

    question: Question
    status: int = 0
    """0: no head came."""
    call_id: str = ""
    complete: bool = False
    """Whether the last byte came: the whole body, or a stream's end marker."""
    usage: tuple[int, int] | None = None
    """Tokens in and out, where the answer told."""
    broke: str = ""
    raw: bytearray = field(default_factory=bytearray)

    @property
    def answered(self) -> bool:
        return self.complete and self.status == 200


async def call(port: int, question: Question, timeout_s: float = 60.0) -> Seen:
    """Make one call on a connection of its own; however it ends, that is what is returned."""
    seen = Seen(question)
    writer = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(question.http())
            while not seen.complete and (data := await reader.read(65536)):
                take(seen, data)
    except (OSError, TimeoutError) as error:
        seen.broke = type(error).__name__
    finally:
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    seen.raw.clear()
    return seen


def take(seen: Seen, data: bytes) -> None:
    """Take in what arrived, and note what it says."""
    seen.raw += data
    head, ended, body = bytes(seen.raw).partition(b"\r\n\r\n")
    if not ended:
        return
    if (status := _STATUS.match(head)) is not None:
        seen.status = int(status[1])
    if (call_id := _CALL_ID.search(head)) is not None:
        seen.call_id = call_id[1].decode()
    length = _LENGTH.search(head)
    seen.complete = len(body) >= int(length[1]) if length else DONE in body
    if seen.answered:
        told, out = _TOKENS_IN.search(body), _TOKENS_OUT.search(body)
        seen.usage = (int(told[1]), int(out[1])) if told and out else None
