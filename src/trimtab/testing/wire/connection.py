"""One connection of the fake server: reads requests, plays replies, notices when the peer leaves.

Source: RFC 9112 (HTTP/1.1); requests with Content-Length or chunked bodies, one at a time.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from .plan import End, Send, Step, Wait

MAX_HEAD_BYTES = 1024 * 1024
"""Largest request head the fake reads; larger than any gateway should send."""


class Incoming(NamedTuple):
    """One request as it was read."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order sent."""
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's first value, or an empty text; `name` in lower case."""
        return next((value for key, value in self.headers if key == name), "")


class Turn(NamedTuple):
    """What the server wants done with a request."""

    steps: list[Step]
    began: Callable[[], None]
    """Called before the reply's first byte."""
    ended: Callable[[float | None, float | None], None]
    """Called with (monotonic time of the last byte sent, monotonic time the peer left): one of them is None,
    both where the reply itself closed the connection early."""


class Connection:
    """Serves one socket until either side closes it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Callable[[Incoming], Turn],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._dropped = False
        self._ahead = b""
        """A byte of the next request, read while watching for the peer to leave."""

    async def serve(self) -> None:
        """Answer requests until the connection ends; a broken request or a leaving peer ends it quietly."""
        try:
            while (request := await self._read()) is not None:
                if not await self._play(self._answer(request)):
                    return
                if request.header("connection").lower() == "close":
                    return
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # the peer broke off or sent no HTTP: what was seen until then is recorded
        finally:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def abort(self) -> None:
        """Drop the connection now; what is being played ends, and does not count as left by the peer."""
        self._dropped = True
        self._writer.transport.abort()

    async def _read(self) -> Incoming | None:
        """Read one request, or return None where the peer closed between two."""
        begun = self._ahead or await self._reader.read(1)
        self._ahead = b""
        if not begun:
            return None
        if not begun.isalpha():
            # A TLS greeting, say: refuse at once, as common servers do, and do not wait for the rest.
            self._writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return None
        head = begun + await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        pairs = [line.partition(":") for line in lines]
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
        bare = Incoming(method, path, headers, b"")
        if bare.header("expect").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return bare._replace(body=await self._read_body(bare))

    async def _read_body(self, request: Incoming) -> bytes:
        if "chunked" not in request.header("transfer-encoding").lower():
            return await self._reader.readexactly(int(request.header("content-length") or 0))
        parts = []
        while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append((await self._reader.readexactly(size + 2))[:-2])
        while (await self._reader.readuntil(b"\r\n")) != b"\r\n":
            pass  # trailers
        return b"".join(parts)

    async def _play(self, turn: Turn) -> bool:
        """Play a reply while watching the peer; return whether the connection stays open."""
        left_at: float | None = None
        sent_at: float | None = None
        open_still = False
        try:
            async with asyncio.TaskGroup() as group:
                playing = group.create_task(self._send(turn))
                watching = group.create_task(self._watch())
                await asyncio.wait((playing, watching), return_when=asyncio.FIRST_COMPLETED)
                if watching.done() and (left_at := watching.result()) is not None and playing.done():
                    left_at = None  # it left after the last byte: no cancellation
                if left_at is None:
                    open_still = await playing
                playing.cancel()
                watching.cancel()
            if left_at is None and open_still:
                sent_at = time.monotonic()
        except* OSError:
            left_at = time.monotonic()
        finally:
            turn.ended(sent_at, None if self._dropped else left_at)
        return open_still and left_at is None

    async def _send(self, turn: Turn) -> bool:
        """Play the steps; return False where they closed the connection."""
        begun = False
        for step in turn.steps:
            match step:
                case Send(data):
                    if not begun:
                        begun = True
                        turn.began()
                    self._writer.write(data)
                    await self._writer.drain()
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case End(how):
                    self._end(how)
                    return False
        return True

    def _end(self, how: str) -> None:
        if how == "reset":
            raw: socket.socket = self._writer.get_extra_info("socket")
            # Lingering for zero seconds makes closing send RST instead of FIN (socket(7), SO_LINGER).
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        else:
            self._writer.close()

    async def _watch(self) -> float | None:
        """Return when the peer left, or None as soon as it begins its next request."""
        try:
            self._ahead += await self._reader.read(1)
        except OSError:
            return time.monotonic()
        return None if self._ahead else time.monotonic()
