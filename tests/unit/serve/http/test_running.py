"""The limit on connections, and the end in order."""

import asyncio
import errno
import logging
import os
import socket
import time

import pytest

from rigs.http_server import CLOSE, echo, get, post, read_all, say, serving, until


def test_newcomers_beyond_the_limit_wait_and_are_served_when_there_is_room(run) -> None:
    async def main() -> None:
        async with serving(echo, connections=5) as served:
            clients = [await served.connect() for _ in range(40)]
            for client in clients:
                await client.send(get("/", CLOSE))
            most = 0

            async def look() -> None:
                nonlocal most
                while True:
                    most = max(most, served.open_now)
                    await asyncio.sleep(0)

            looking = asyncio.get_running_loop().create_task(look())
            for client in clients:
                [reply] = await client.replies()
                assert reply.status == 200
                client.sock.close()
            looking.cancel()
            assert most <= 5
            # Full of silent ones: nobody else is taken, nothing turns in circles, and room is used at once.
            silent = [await served.connect() for _ in range(5)]
            await until(lambda: served.open_now == 5)
            late = await served.connect()
            await late.send(get("/", CLOSE))
            before = time.process_time()
            await asyncio.sleep(0.3)
            assert time.process_time() - before < 0.1
            assert served.open_now == 5
            silent[2].sock.close()
            [reply] = await late.replies()
            assert reply.status == 200

    run(main)


def test_a_stop_refuses_newcomers_closes_idlers_and_finishes_what_is_open(run) -> None:
    async def main() -> None:
        go_on, seen = asyncio.Event(), []

        async def app(scope, receive, send) -> None:
            await read_all(receive)
            seen.append(scope["path"])
            if scope["path"] != "/quick":
                await go_on.wait()
            await say(send, scope["path"].encode())

        async with serving(app) as served:
            idle, used, busy, body = [await served.connect() for _ in range(4)]
            await used.send(get("/quick"))
            await used.until(b"/quick")
            await busy.send(get("/busy") + get("/behind") * 3)
            await body.send(post(b"xy", path="/body")[:-1])
            await until(lambda: len(served.server._active) == 2)
            served.stop.set()
            assert await idle.to_end() == b""
            assert (await used.to_end()).count(b"HTTP/1.1") == 1
            with pytest.raises(ConnectionRefusedError):
                await served.connect()
            assert not served.task.done()
            await body.send(b"y")
            await until(lambda: "/body" in seen)
            go_on.set()
            for client, said in ((busy, b"/busy"), (body, b"/body")):
                [reply] = await client.replies()  # the three behind were not begun, and are not half-served
                assert (reply.body, reply.get("connection")) == (said, "close")
                client.sock.close()
            await asyncio.wait_for(served.task, 5)
            assert sorted(seen) == ["/body", "/busy", "/quick"]

    run(main)


def test_a_stop_answers_requests_that_had_arrived(run) -> None:
    async def main() -> None:
        async with serving(echo) as served:
            kept = await served.connect()
            await kept.send(get("/1"))
            await kept.until(b"GET /1? ")
            begun = await served.connect()
            await begun.send(get("/3")[:-5])
            await asyncio.sleep(0.05)
            kept.sock.send(get("/2"))
            newcomer = socket.create_connection(("127.0.0.1", served.port))
            newcomer.send(get("/4"))
            served.stop.set()
            await until(lambda: served.server._draining)
            await begun.send(get("/3")[-5:])
            assert [r.body for r in await kept.replies()] == [b"GET /1? ", b"GET /2? "]
            assert [r.body for r in await begun.replies()] == [b"GET /3? "]
            newcomer.setblocking(True)
            data = await asyncio.to_thread(newcomer.recv, 65536)
            assert data.endswith(b"GET /4? ")
            newcomer.close()

    run(main)


def test_a_cut_cancels_what_is_open_and_terminates_nothing(run) -> None:
    async def main() -> None:
        ends = []

        async def app(scope, receive, send) -> None:
            try:
                if scope["path"] == "/stream":
                    await send({"type": "http.response.start", "status": 200, "headers": []})
                    await send({"type": "http.response.body", "body": b"half", "more_body": True})
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ends.append(scope["path"])
                raise

        async with serving(app) as served:
            stream, silent = await served.connect(), await served.connect()
            await stream.send(get("/stream"))
            await silent.send(get("/silent"))
            await stream.until(b"half")
            await until(lambda: len(served.server._active) == 2)
            served.stop.set()
            await asyncio.sleep(0.05)
            assert not served.task.done()
            served.server.cut()
            [reply] = await stream.replies()
            assert (reply.body, reply.whole) == (b"half", False)
            assert await silent.to_end() == b""
            for client in served.clients:
                client.sock.close()
            await asyncio.wait_for(served.task, 5)
            assert sorted(ends) == ["/silent", "/stream"]

    run(main)


def test_a_server_that_is_cancelled_leaves_nothing_open(run) -> None:
    async def main() -> None:
        async def app(scope, receive, send) -> None:
            await asyncio.sleep(60)

        async with serving(app) as served:
            client = await served.connect()
            await client.send(get())
            await until(lambda: served.server._active)
            served.task.cancel()
            assert await client.to_end() == b""
            await until(lambda: not served.open_now and not served.server._active and served.task.done())
            with pytest.raises(ConnectionRefusedError):
                await served.connect()

    run(main)


def test_accepting_survives_errors_of_accept(run, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    """An error of one newcomer is passed over; without descriptors the server waits, and goes on by itself."""
    caplog.set_level(logging.ERROR)

    async def main() -> None:
        async with serving(echo) as served:
            await until(lambda: served.server._acceptor is not None)
            real = served.server._acceptor._listener
            errors = [errno.EPROTO, errno.ECONNABORTED, errno.EPERM, errno.EMFILE]

            class Failing:
                """The listener, whose `accept` fails a few times first: those errors cannot be had to order."""

                def accept(self):
                    if errors:
                        number = errors.pop(0)
                        raise OSError(number, os.strerror(number))
                    return real.accept()

                def __getattr__(self, name):
                    return getattr(real, name)

            monkeypatch.setattr(served.server._acceptor, "_listener", Failing())
            [reply] = await served.ask(get("/", CLOSE))
            assert reply.status == 200
            assert not errors
            assert "Too many open files" in caplog.text

    run(main)
