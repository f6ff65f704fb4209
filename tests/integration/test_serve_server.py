"""The embedded HTTP server on real sockets: idle connections, drains, cuts."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import uvloop

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

    uvloop.run(main())


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

    uvloop.run(main())


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

    uvloop.run(main())


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


async def retiring(scenario: Callable[[int, asyncio.Event], Awaitable[None]], app: App = quick) -> None:
    """Run a scenario against a server that retires when the event given to it is set."""
    stop, retire = asyncio.Event(), asyncio.Event()
    fd, port = listener()
    working = asyncio.ensure_future(serve_and_drain(app, options(fd, drain_s=5), stop, retire))
    await scenario(port, retire)
    await asyncio.wait_for(working, PATIENCE_S)


def test_a_request_on_an_idle_connection_of_a_retiring_server_is_answered_and_is_the_last() -> None:
    async def scenario(port: int, retire: asyncio.Event) -> None:
        links = [await ask(port) for _ in range(2)]
        for reader, _ in links:
            assert b"connection: close" not in await answer(reader)
        retire.set()
        assert await refused(port)
        for reader, writer in links:  # one after the other: the second is still idle when the first has gone
            writer.write(REQUEST)
            assert b"connection: close" in await answer(reader)
            assert await reader.read() == b""
        await hang_up(*(writer for _, writer in links))

    uvloop.run(retiring(scenario))


def test_a_reply_that_promised_more_is_followed_by_more() -> None:
    slow = Slow()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if slow.end:
            await quick(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        slow.asked.set()
        await slow.go_on.wait()
        await send({"type": "http.response.body", "body": b"k"})
        slow.end = "answered"

    async def scenario(port: int, retire: asyncio.Event) -> None:
        reader, writer = await ask(port)
        await slow.asked.wait()
        retire.set()
        assert await refused(port)
        slow.go_on.set()
        assert b"connection: close" not in await answer(reader)
        writer.write(REQUEST)
        assert b"connection: close" in await answer(reader)
        assert await reader.read() == b""
        await hang_up(writer)

    uvloop.run(retiring(scenario, app))


def test_half_a_head_at_a_stop_becomes_a_request_and_is_answered() -> None:
    async def main() -> None:
        stop = asyncio.Event()
        fd, port = listener()
        working = asyncio.ensure_future(serve_and_drain(quick, options(fd, drain_s=5), stop))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        assert await answer(reader)
        writer.write(REQUEST[:20])
        await asyncio.sleep(0.05)  # not a guess about us: the bytes are there before the signal
        stop.set()
        assert await refused(port)
        writer.write(REQUEST[20:])
        assert b"connection: close" in await answer(reader)
        await asyncio.wait_for(working, PATIENCE_S)
        await hang_up(writer)

    uvloop.run(main())


def test_requests_in_a_row_are_all_answered_at_a_stop() -> None:
    slow = Slow()

    async def main() -> None:
        stop = asyncio.Event()
        fd, port = listener()
        working = asyncio.ensure_future(serve_and_drain(slow, options(fd, drain_s=5), stop))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await slow.asked.wait()
        stop.set()
        assert await refused(port)
        slow.go_on.set()
        assert b"connection: close" in await answer(reader)
        await asyncio.wait_for(working, PATIENCE_S)
        await hang_up(writer)

    uvloop.run(main())
