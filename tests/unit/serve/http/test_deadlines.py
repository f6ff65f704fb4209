"""Who must go on has the idle time, and not less; who need not is not hurried."""

import asyncio
import time

from rigs.http_server import CLOSE, echo, get, post, read_all, say, serving

IDLE_S = 0.4
LATE_S = 2.0


def test_silent_and_idle_connections_are_closed_after_the_idle_time_and_not_before(run) -> None:
    async def main() -> None:
        async with serving(echo, idle_s=IDLE_S) as served:
            for sent, status in ((b"", 0), (get(), 200), (b"\r\n", 0)):
                client = await served.connect()
                await client.send(sent)
                if status:
                    await client.until(b"GET /? ")
                began = time.monotonic()
                data = await client.to_end()
                assert IDLE_S - 0.05 <= time.monotonic() - began < IDLE_S + LATE_S
                assert data.count(b"HTTP/1.1") == bool(status)

    run(main)


def test_a_slow_head_gets_408_however_busily_it_trickles(run) -> None:
    async def main() -> None:
        async with serving(echo, idle_s=IDLE_S) as served:
            client = await served.connect()
            await client.send(get() + b"GET / HTTP/1.1\r\nX: ")
            began = time.monotonic()
            while time.monotonic() - began < LATE_S and b"408" not in client.got:
                await client.send(b"y")
                await asyncio.sleep(0.02)
                if client.got.count(b"HTTP") < 1 or time.monotonic() - began > IDLE_S:
                    await client.some()
            first, second = await client.replies()
            assert (first.status, second.status, second.get("connection")) == (200, 408, "close")
            assert time.monotonic() - began >= IDLE_S - 0.05

    run(main)


def test_a_body_that_stands_still_ends_and_one_that_goes_on_does_not(run) -> None:
    ends = []

    async def app(scope, receive, send) -> None:
        try:
            ends.append(len(await read_all(receive)))
        except ConnectionResetError:
            ends.append("gone")
            raise
        await say(send)

    async def main() -> None:
        async with serving(app, idle_s=IDLE_S) as served:
            slow = await served.connect()
            await slow.send(post(b"x" * 10, CLOSE)[:-10])
            for _ in range(10):
                await asyncio.sleep(IDLE_S / 4)
                await slow.send(b"x")
            [reply] = await slow.replies()
            assert (reply.status, ends) == (200, [10])
            still = await served.connect()
            await still.send(post(b"x" * 10)[:-5])
            began = time.monotonic()
            assert await still.to_end() == b""
            assert IDLE_S - 0.05 <= time.monotonic() - began < IDLE_S + LATE_S
            assert ends == [10, "gone"]

    run(main)


def test_an_application_may_take_its_time(run) -> None:
    """No deadline runs while it is not the client that has to go on: not before a body is read, nor after."""

    async def app(scope, receive, send) -> None:
        await asyncio.sleep(3 * IDLE_S)
        body = await read_all(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await asyncio.sleep(3 * IDLE_S)
        await send({"type": "http.response.body", "body": body})

    async def main() -> None:
        async with serving(app, idle_s=IDLE_S) as served:
            expecting = await served.connect()
            await expecting.send(
                get("/", f"Expect: 100-continue\r\nContent-Length: 2\r\n{CLOSE}", method="POST")
            )
            behind = await served.connect()
            await behind.send(post(b"x") + post(b"yz", CLOSE)[:-1])  # waits, half of it, behind another
            large = await served.connect()
            loop = asyncio.get_running_loop()
            sending = loop.create_task(large.send(post(b"x" * 9_000_000, CLOSE)))
            reading = loop.create_task(large.replies())
            await expecting.until(b"100 Continue\r\n\r\n")
            await expecting.send(b"ab")
            assert [r.body for r in await expecting.replies()] == [b"", b"aab"]
            await behind.send(b"z")
            assert [r.body for r in await behind.replies()] == [b"ax", b"ayz"]
            [reply] = await reading
            assert len(reply.body) == 9_000_001
            await sending

    run(main)
