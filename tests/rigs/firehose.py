"""A provider whose streams never end, and come as fast as they are read."""

import asyncio
import socket
import threading
from typing import Self

import msgspec

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENTS = 200


def chunk_event(text: str) -> bytes:
    """One piece of a chat stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    fields = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


class Firehose:
    """Serves on a port of 127.0.0.1, in a thread of its own, and counts the bytes it got rid of."""

    def __init__(self, text: str = "word ") -> None:
        block = chunk_event(text) * _EVENTS
        self._block = b"%x\r\n%b\r\n" % (len(block), block)
        self.sent = 0
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="firehose")

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the firehose did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        listener = socket.socket()
        # What the kernel holds back on our side would count as sent.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(self._serve, sock=listener, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio serves each connection in a task"
        self._tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_HEAD)
            while True:
                writer.write(self._block)
                self.sent += len(self._block)
                await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            return  # the reader has gone, or we end
        finally:
            self._tasks.discard(task)
            writer.transport.abort()
