"""A client on raw sockets, which remembers exactly how far each answer came."""

import asyncio
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_CALL_ID = re.compile(rb"\r\nx-trimtab-call-id: ([0-9a-f-]+)", re.IGNORECASE)
_TOKENS_IN = re.compile(rb'"prompt_tokens": ?(\d+)')
_TOKENS_OUT = re.compile(rb'"completion_tokens": ?(\d+)')
_CODE = re.compile(rb'"code": ?"([a-z_]+)"')
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
    headers: tuple[tuple[str, str], ...] = ()
    """Whose call it is: `x-trimtab-user`, `x-trimtab-session`, a key."""
    comment: str = ""
    """Feedback that the client gives once it has its answer."""

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
        return _post("/v1/chat/completions", body, self.headers)


def _post(path: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> bytes:
    more = "".join(f"\r\n{name}: {value}" for name, value in headers)
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json{more}"
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
    code: str = ""
    """Of the error that it was answered with."""
    broke: str = ""
    began_us: int = 0
    ended_us: int = 0
    """Microseconds since 1970, when the last byte had come."""
    judged_us: int = 0
    """When its feedback had been taken; 0: it was not."""
    raw: bytearray = field(default_factory=bytearray)

    @property
    def answered(self) -> bool:
        return self.complete and self.status == 200


async def call(port: int, question: Question, timeout_s: float = 60.0) -> Seen:
    """Make one call on a connection of its own; however it ends, that is what is returned."""
    seen = Seen(question, began_us=time.time_ns() // 1000)
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
    if not seen.answered and (code := _CODE.search(seen.raw)) is not None:
        seen.code = code[1].decode()
    seen.ended_us = time.time_ns() // 1000
    seen.raw.clear()
    return seen


async def judge(port: int, seen: Seen) -> None:
    """Give the feedback of a call."""
    body = msgspec.json.encode({"call_id": seen.call_id, "name": "thumbs", "comment": seen.question.comment})
    keys = tuple(pair for pair in seen.question.headers if pair[0] in ("authorization", "x-trimtab-user"))
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_post("/v1/feedback", body, keys))
            if b" 20" in await reader.readuntil(b"\r\n"):
                seen.judged_us = time.time_ns() // 1000
            writer.close()
            await writer.wait_closed()


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
