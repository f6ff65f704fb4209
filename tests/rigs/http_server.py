"""An `HttpServer` on a real socket of the running loop, and a client that says exactly the bytes a test wants."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import uvloop

from trimtab.serve import platform
from trimtab.serve.http import HttpServer, Limits

PATIENCE_S = 10.0
Main = Callable[[], Awaitable[None]]


def run_on(kind: str, main: Main) -> None:
    """Run a test on uvloop or on asyncio's own loop; nothing may be complained of on the way."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        await asyncio.wait_for(main(), 20)

    factory = uvloop.new_event_loop if kind == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(watched())
    assert complaints == []


@dataclass
class Reply:
    """One reply, as a client reads it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    whole: bool = True
    """It ended as its head said."""

    def get(self, name: str) -> str | None:
        found = [value for known, value in self.headers if known == name]
        assert len(found) < 2, f"{name} twice"
        return found[0] if found else None


def parse(data: bytes, *, methods: str = "", closed: bool = True) -> list[Reply]:
    """Read replies one after the other; `methods` says `H` for those to HEAD."""
    replies: list[Reply] = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"half a head: {head!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status = first.split(" ")[:2]
        assert version == "HTTP/1.1"
        reply = Reply(int(status), [tuple(line.split(": ", 1)) for line in lines])
        bodiless = reply.status in (100, 204, 304) or methods[len(replies) : len(replies) + 1] == "H"
        replies.append(reply)
        if bodiless:
            continue
        if reply.get("transfer-encoding") == "chunked":
            assert reply.get("content-length") is None
            reply.whole = False
            while data:
                size, _, rest = data.partition(b"\r\n")
                length = int(size, 16)
                if length == 0:
                    assert rest[:2] == b"\r\n"
                    data, reply.whole = rest[2:], True
                    break
                reply.body += rest[:length]
                data = rest[length + 2 :]
        elif (said := reply.get("content-length")) is not None:
            reply.body, data = data[: int(said)], data[int(said) :]
            reply.whole = len(reply.body) == int(said)
        else:
            reply.body, data = data, b""
    return replies


class Client:
    """A raw socket on the running loop."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.got = b""

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self.loop.sock_sendall(self.sock, data), PATIENCE_S)

    async def some(self, size: int = 65536) -> bytes:
        """Read what there is; empty at the end."""
        data = await asyncio.wait_for(self.loop.sock_recv(self.sock, size), PATIENCE_S)
        self.got += data
        return data

    async def until(self, part: bytes, count: int = 1) -> bytes:
        """Read until something was said so many times."""
        while self.got.count(part) < count:
            assert await self.some(), f"closed after {self.got[-300:]!r}"
        return self.got

    async def to_end(self) -> bytes:
        """Read until the server closes; a reset is an error."""
        while await self.some():
            pass
        return self.got

    async def replies(self, methods: str = "") -> list[Reply]:
        return parse(await self.to_end(), methods=methods)

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


@dataclass
class Served:
    """A server that runs."""

    server: HttpServer
    port: int
    stop: asyncio.Event
    task: asyncio.Task[None]
    clients: list[Client] = field(default_factory=list)

    async def connect(self, *, receive_buffer: int = 0) -> Client:
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", self.port)), PATIENCE_S)
        except OSError:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients.append(Client(sock))
        return self.clients[-1]

    async def ask(self, data: bytes, methods: str = "") -> list[Reply]:
        """Send bytes on a connection of their own, and read until the server closes it."""
        client = await self.connect()
        await client.send(data)
        try:
            return await client.replies(methods)
        finally:
            client.sock.close()

    @property
    def open_now(self) -> int:
        return len(self.server._connections)


async def until(met: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Poll until a condition holds."""
    end = time.monotonic() + timeout_s
    while not met():
        assert time.monotonic() < end, "it never came to hold"
        await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(app: Any, **limits: Any) -> AsyncIterator[Served]:
    """Serve an application; in the end the server must stop by itself."""
    (listener,) = platform.listen("127.0.0.1", 0, 1)
    port = listener.getsockname()[1]
    server, stop = HttpServer(app, Limits(**limits)), asyncio.Event()
    task = asyncio.get_running_loop().create_task(server.run(listener.detach(), stop))
    served = Served(server, port, stop, task)
    try:
        yield served
    finally:
        for client in served.clients:
            client.sock.close()
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE_S)


# --- applications ---------------------------------------------------------------------------------------------------


async def read_all(receive: Any) -> bytes:
    """Take a request's whole body."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client left")
        body += message["body"]
        if not message["more_body"]:
            return body


async def say(send: Any, body: bytes = b"ok", status: int = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Say what was asked: method, path, query, and the body."""
    body = await read_all(receive)
    said = b"%b %b?%b " % (scope["method"].encode(), scope["path"].encode(), scope["query_string"])
    await say(send, said + body)


def get(path: str = "/", more: str = "", version: str = "1.1", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: a\r\n{more}\r\n".encode()


def post(body: bytes, more: str = "", path: str = "/") -> bytes:
    return get(path, f"Content-Length: {len(body)}\r\n{more}", method="POST") + body


def chunked(*pieces: bytes, trailer: bytes = b"", more: str = "") -> bytes:
    head = get("/", f"Transfer-Encoding: chunked\r\n{more}", method="POST")
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n" + trailer + b"\r\n"


CLOSE = "Connection: close\r\n"
