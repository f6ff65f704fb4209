"""Nothing is left of a request or a connection: no cycle for the garbage collector, no task, no timer."""

import asyncio
import gc
import logging

import pytest

from rigs.http_server import CLOSE, chunked, get, post, read_all, say, serving, until
from trimtab.serve.http.connection import Connection
from trimtab.serve.http.exchange import Exchange
from trimtab.serve.http.reader import Reader


@pytest.fixture(autouse=True)
def _unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged, pytest keeps, with the frames of its traceback."""
    monkeypatch.setattr(logging.getLogger("trimtab.serve.http.exchange"), "disabled", True)


async def any_app(scope, receive, send) -> None:
    """Do what the path says."""
    if scope["path"] == "/fail":
        raise ZeroDivisionError
    if scope["path"] == "/wait":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if scope["path"] == "/early":
        await say(send, b"early", 413)
        return
    body = await read_all(receive)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(3):
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


ENDS = {
    "answered": get("/", CLOSE),
    "kept alive": get() + post(b"abc") + get(),
    "pipelined": get("/wait") + get() * 400 + post(b"x" * 50_000),
    "failed": get("/fail"),
    "left while working": get("/wait"),
    "left in a body": post(b"x" * 100)[:-50],
    "refused": b"nonsense\0\r\n\r\n",
    "refused in a body": chunked(b"abc")[:-7] + b"x\r\n",
    "too many headers": get("/", "X: 1\r\n" * 300),
    "early": post(b"x" * 100, path="/early")[:-50],
    "declined offer": post(b"x", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    "nothing": b"",
}


@pytest.mark.parametrize("what", ENDS)
def test_no_cycle_is_left_of_a_connection(run, what: str) -> None:
    def alive() -> list[object]:
        return [found for found in gc.get_objects() if type(found) in (Connection, Exchange, Reader)]

    async def main() -> None:
        async with serving(any_app) as served:
            gc.collect()
            gc.disable()
            try:
                for _ in range(3):
                    client = await served.connect()
                    await client.send(ENDS[what])
                    await asyncio.sleep(0.01)
                    client.sock.close()
                    await until(lambda: not served.open_now and not served.server._active)
                    await asyncio.sleep(0)
                await until(lambda: not alive(), 2)
            finally:
                gc.enable()

    run(main)


def test_thousands_of_connections_leave_no_task_and_no_timer(run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serving(any_app, connections=50) as served:
            for _ in range(3):
                await asyncio.sleep(0)  # the server's own tasks begin
            tasks = len(asyncio.all_tasks())
            gc.collect()
            before = len(gc.get_objects())

            async def one(n: int) -> None:
                client = await served.connect()
                try:
                    await client.send(list(ENDS.values())[n % len(ENDS)] if n % 3 else get("/", CLOSE))
                    if n % 3 == 0:
                        assert len(await client.replies()) == 1
                finally:
                    client.sock.close()
                    served.clients.remove(client)

            for n in range(0, 2000, 20):
                await asyncio.gather(*(one(n + k) for k in range(20)))
            await until(lambda: not served.open_now and not served.server._active)
            assert len(asyncio.all_tasks()) == tasks
            gc.collect()
            assert len(gc.get_objects()) - before < 500
            scheduled = getattr(loop, "_scheduled", ())  # uvloop shows none
            assert len([timer for timer in scheduled if not timer.cancelled()]) < 10
            assert not served.server._acceptor.coming

    run(main)
