"""The embedded HTTP server on real sockets: idle connections, drains, cuts."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from trimtab.config import Console, Data, Gateway, Own
from trimtab.serve import platform
from trimtab.serve.child.server import serve
from trimtab.serve.child.worker import serve_and_drain
from trimtab.serve.options import ChildOptions

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
PATIENCE_S = 10.0
App = Callable[[Any, Any, Any], Awaitable[None]]


async def quick(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await say_ok(send)


async def say_ok(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Slow:
    """Answers once `go_on` is set; notes what becomes of it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.end = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
            self.asked.set()
            await self.go_on.wait()
            await say_ok(send)
            self.end = "answered"
        except asyncio.CancelledError:
            self.end = "cancelled"
            raise


def listener() -> tuple[int, int]:
    (made,) = platform.listen("127.0.0.1", 0, 1)
    port: int = made.getsockname()[1]
    return made.detach(), port


def options(fd: int, **gateway: Any) -> ChildOptions:
    return ChildOptions(
        kind="worker", index=1, data_dir="", config=None, gateway=Gateway(**gateway), console=Console(),
        data=Data(), own=Own(), listener=fd,
    )  # fmt: skip


async def ask(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    await writer.drain()
    return reader, writer


async def hang_up(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    return head + await reader.readexactly(2)


async def refused(port: int) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return True
        await hang_up(writer)
        await asyncio.sleep(0.02)
    return False


def test_idle_connections_are_closed_when_their_time_is_over_and_not_before() -> None:
    async def main() -> None:
        fd, port = listener()
        stop = asyncio.Event()
        serving = asyncio.ensure_future(serve(quick, fd, Gateway(idle_timeout_s=0.4), stop))
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await ask(port)
        for _ in range(3):
            assert (await answer(reader)).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.2)
            writer.write(REQUEST)
        await answer(reader)
        began = time.monotonic()
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        assert time.monotonic() - began > 0.2
        assert await asyncio.wait_for(silent.read(), PATIENCE_S) == b""
        await hang_up(writer, silent_writer)
        stop.set()
        await asyncio.wait_for(serving, PATIENCE_S)

    asyncio.run(main())


def test_a_stop_refuses_newcomers_closes_idlers_and_finishes_what_is_open() -> None:
    async def main() -> None:
        fd, port = listener()
        app, stop = Slow(), asyncio.Event()
        working = asyncio.ensure_future(serve_and_drain(app, options(fd), stop))
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await ask(port)
        await asyncio.wait_for(app.asked.wait(), PATIENCE_S)
        stop.set()
        assert await refused(port)
        assert await asyncio.wait_for(idle.read(), PATIENCE_S) == b""
        assert not working.done()
        app.go_on.set()
        assert (await answer(reader)).endswith(b"ok")
        await asyncio.wait_for(working, PATIENCE_S)
        assert app.end == "answered"
        await hang_up(writer, idle_writer)

    asyncio.run(main())


def test_what_is_open_after_the_drain_is_cancelled_and_cut_short() -> None:
    async def main() -> None:
        fd, port = listener()
        app, stop, complaints = Slow(), asyncio.Event(), []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        working = asyncio.ensure_future(serve_and_drain(app, options(fd, drain_s=0.2), stop))
        _, writer = await ask(port)
        await asyncio.wait_for(app.asked.wait(), PATIENCE_S)
        stop.set()
        await asyncio.wait_for(working, 2.0)  # the server ended by itself once the call was cut
        assert app.end == "cancelled"
        assert complaints == []
        await hang_up(writer)

    asyncio.run(main())


@pytest.mark.parametrize("count", [1, 3])
def test_listeners_share_a_port_that_nobody_else_has(count: int) -> None:
    made = platform.listen("127.0.0.1", 0, count)
    try:
        ports = {listener.getsockname()[1] for listener in made}
        assert len(ports) == 1
        with pytest.raises(OSError, match="in use"):
            platform.listen("127.0.0.1", ports.pop(), 2)
    finally:
        for each in made:
            each.close()


def test_a_shared_port_of_somebody_else_is_refused_too() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            platform.listen("127.0.0.1", other.getsockname()[1], 2)


def test_a_port_is_free_again_right_after_its_connections_were_closed() -> None:
    (first,) = platform.listen("127.0.0.1", 0, 1)
    port = first.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        first.setblocking(True)
        accepted, _ = first.accept()
        accepted.close()
    first.close()
    (second,) = platform.listen("127.0.0.1", port, 1)
    second.close()
