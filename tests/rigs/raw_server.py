"""A server that says exactly the bytes a test wants, one scripted answer a request."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CLOSE = b"!close"
RESET = b"!reset"


@dataclass
class RawServer:
    """Answers request after request with `answers` (the last one again and again), on any connection.

    An answer is bytes, or a list of bytes and pauses in seconds; `CLOSE` and `RESET` end the connection.
    """

    answers: list[bytes | list[bytes | float]]
    on_connect: Serve | None = None
    port: int = field(default=0, init=False)
    connections: int = field(default=0, init=False)
    open_now: int = field(default=0, init=False)
    requests: list[bytes] = field(default_factory=list, init=False)
    on: list[int] = field(default_factory=list, init=False)
    """The number of the connection that each request came on."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def until(self, met: Callable[[], object], timeout_s: float = 3.0) -> None:
        """Poll until a condition holds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while not met():
            assert loop.time() < end, "it never came to hold"
            await asyncio.sleep(0.002)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        number = self.connections
        try:
            if self.on_connect is not None:
                await self.on_connect(reader, writer)
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                self.on.append(number)
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                for step in [answer] if isinstance(answer, bytes) else answer:
                    if step in (CLOSE, RESET):
                        if step == RESET:
                            # Lingering for no time turns the close into an RST.
                            linger = struct.pack("ii", 1, 0)
                            writer.get_extra_info("socket").setsockopt(
                                socket.SOL_SOCKET, socket.SO_LINGER, linger
                            )
                            writer.transport.abort()
                        return
                    if isinstance(step, float):
                        await asyncio.sleep(step)
                    else:
                        writer.write(step)
                        await writer.drain()
        finally:
            self.open_now -= 1


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Serve each connection with a function, on a free port of 127.0.0.1; end them all in the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        # asyncio logs a handler that ends in an error, and these may: they are cut off in the middle.
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()


@asynccontextmanager
async def raw_server(*answers: bytes | list[bytes | float], **more) -> AsyncIterator[RawServer]:
    """Serve these answers on a free port of 127.0.0.1."""
    made = RawServer(list(answers), **more)
    async with listening(made.serve) as made.port:
        yield made
