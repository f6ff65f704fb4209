"""Slow sides: memory stays bounded, whoever goes on is waited for, and who does not is let go."""

import asyncio
import socket
import time

from rigs.http_server import CLOSE, chunked, echo, get, parse, post, read_all, say, serving, until


def test_a_body_waits_in_the_kernel_while_the_application_does_not_read(run) -> None:
    size = 30_000_000

    async def main() -> None:
        go_on, most = asyncio.Event(), 0

        async def slow(scope, receive, send) -> None:
            nonlocal most
            await go_on.wait()
            total, n = 0, 0
            while True:
                message = await receive()
                most = max(most, len(message["body"]))
                total += len(message["body"])
                n += 1
                if n % 10 == 0:
                    await asyncio.sleep(0.001)
                if not message["more_body"]:
                    break
            await say(send, b"%d" % total)

        async with serving(slow) as served:
            client = await served.connect()
            sending = asyncio.get_running_loop().create_task(client.send(post(b"x" * size, CLOSE)))
            await until(lambda: served.server._active)
            [exchange] = served.server._active
            await until(lambda: exchange.unread > 65_536)
            await asyncio.sleep(0.1)
            assert exchange.unread <= 65_536 + 262_144
            assert not sending.done()
            go_on.set()
            [reply] = await client.replies()
            await sending
        assert reply.body == b"%d" % size
        assert most <= 65_536 + 262_144

    run(main)


def test_a_stream_waits_for_its_reader(run) -> None:
    """`send` returns once the client keeps up; the kernel and this process hold little meanwhile."""

    async def main() -> None:
        sent = 0

        async def fast(scope, receive, send) -> None:
            nonlocal sent
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(500):
                await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
                sent += 10_000
            await send({"type": "http.response.body", "body": b""})

        async with serving(fast) as served:
            client = await served.connect(receive_buffer=65536)
            await client.send(get("/", CLOSE))
            await until(lambda: served.server._connections and next(iter(served.server._connections)).blocked)
            await asyncio.sleep(0.2)
            assert sent < 1_000_000
            [connection] = served.server._connections
            assert connection._transport.get_write_buffer_size() <= 16_384 + 10_100
            [reply] = await client.replies()
            assert (len(reply.body), reply.whole) == (5_000_000, True)

    run(main)


def test_a_large_whole_reply_arrives_whole(run) -> None:
    async def main() -> None:
        body = bytes(range(256)) * 20_000

        async def large(scope, receive, send) -> None:
            await say(send, body)

        async with serving(large) as served:
            first, second = await served.ask(get() + get("/", CLOSE))
            assert first.body == second.body == body

    run(main)


def test_a_reader_that_goes_on_is_waited_for_and_one_that_does_not_is_let_go(run) -> None:
    idle_s = 0.4

    async def main() -> None:
        ends = {}

        async def stream(scope, receive, send) -> None:
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                for _ in range(60):
                    await send({"type": "http.response.body", "body": b"x" * 20_000, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                ends[scope["path"]] = "sent"
            except OSError:
                ends[scope["path"]] = "gone"

        async with serving(stream, idle_s=idle_s) as served:
            reader = await served.connect(receive_buffer=65536)
            sleeper = await served.connect(receive_buffer=4096)
            await sleeper.send(get("/sleeper"))
            await reader.send(get("/reader", CLOSE))
            began = time.monotonic()
            while await reader.some(30_000):
                await asyncio.sleep(0.05)
            assert time.monotonic() - began > 2 * idle_s
            [reply] = parse(reader.got)
            assert (len(reply.body), reply.whole) == (1_200_000, True)
            await until(lambda: "/sleeper" in ends)
            assert ends == {"/reader": "sent", "/sleeper": "gone"}
            await until(lambda: not served.open_now)

    run(main)


def test_a_whole_reply_that_nobody_takes_ends_its_connection(run) -> None:
    async def main() -> None:
        async def large(scope, receive, send) -> None:
            await say(send, b"x" * 5_000_000)

        async with serving(large, idle_s=0.2) as served:
            for asked in (get(), get("/", CLOSE), b"GET / HTTP/1.0\r\n\r\n"):
                client = await served.connect(receive_buffer=4096)
                await client.send(asked)
                await until(lambda: served.server._active)
                await until(lambda: not served.open_now and not served.server._active)

    run(main)


def test_a_client_that_closes_its_side_and_reads_nothing_is_not_kept(run) -> None:
    async def main() -> None:
        async def large(scope, receive, send) -> None:
            await say(send, b"x" * 3_000_000)

        async with serving(large, idle_s=0.2) as served:
            client = await served.connect(receive_buffer=4096)
            await client.send(get())
            await until(lambda: served.server._active)
            client.half_close()
            await until(lambda: not served.open_now and not served.server._active)

    run(main)


async def refuse_early(scope, receive, send) -> None:
    await say(send, b"too large", 413)


def test_an_early_reply_to_an_upload_arrives_before_the_close(run) -> None:
    """Without the lingering the client would get a reset, and lose the reply."""

    async def main() -> None:
        async with serving(refuse_early) as served:
            for wait_s in (0, 0.05):
                client = await served.connect()
                await client.send(get("/", "Content-Length: 5000000\r\n", method="POST"))
                await asyncio.sleep(wait_s)
                await client.send(b"x" * 3_000_000)
                await client.until(b"too large")
                [reply] = await client.replies()
                assert (reply.status, reply.get("connection")) == (413, "close")
                client.sock.close()
                await until(lambda: not served.open_now, 1.0)  # at once: the client left

    run(main)


def test_the_lingering_after_an_early_reply_is_bounded(run) -> None:
    async def main() -> None:
        async with serving(refuse_early) as served:
            client = await served.connect()
            await client.send(get("/", "Content-Length: 50000000\r\n", method="POST"))
            await client.until(b"too large")
            began = time.monotonic()
            try:
                while time.monotonic() - began < 10:
                    await client.send(b"x" * 1000)
                    await asyncio.sleep(0.02)
            except OSError:
                pass
            assert 1.5 < time.monotonic() - began < 5
            assert not served.open_now

    run(main)


def test_an_upload_answered_early_and_still_read_to_its_end(run) -> None:
    async def main() -> None:
        async def both(scope, receive, send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"got ", "more_body": True})
            await send({"type": "http.response.body", "body": b"%d" % len(await read_all(receive))})

        async with serving(both) as served:
            client = await served.connect()
            await client.send(get("/", "Content-Length: 200000\r\n", method="POST"))
            await client.until(b"got ")
            await client.send(b"x" * 200_000)
            [reply] = await client.replies()
            assert (reply.body, reply.whole, reply.get("connection")) == (b"got 200000", True, "close")

    run(main)


def test_a_body_nobody_wants_does_not_stop_the_next_request(run) -> None:
    async def main() -> None:
        async def ignores(scope, receive, send) -> None:
            if scope["path"] == "/slow":
                await asyncio.sleep(0.1)
            await say(send, scope["path"].encode())

        async with serving(ignores) as served:
            sent = post(b"x" * 50_000, path="/slow") + post(b"y" * 50_000, path="/2") + get("/3", CLOSE)
            assert [r.body for r in await served.ask(sent)] == [b"/slow", b"/2", b"/3"]
            # One that has not arrived when its reply begins is not waited for.
            first, *_ = await served.ask(post(b"x" * 500_000, path="/slow"))
            assert (first.body, first.get("connection")) == (b"/slow", "close")

    run(main)


def test_replies_are_not_held_back(run) -> None:
    """A head and its body leave in one packet, and a chunk at once: no delayed acknowledgement comes between."""

    async def main() -> None:
        async with serving(echo) as served:
            client = await served.connect()
            took = []
            for n in range(30):
                began = time.monotonic()
                await client.send(chunked(b"abc"))
                await client.until(b"POST /? abc", n + 1)
                took.append(time.monotonic() - began)
            assert client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sorted(took)[15] < 0.02, took

    run(main)
