"""Clients that go away, at whatever moment: the application learns of it at once."""

import asyncio
import time

import pytest

from rigs.http_server import get, post, read_all, say, serving, until


class Watching:
    """Reads the body, streams for ever if told to, and notes when and how it learned that the client left."""

    def __init__(self, *, streams: bool = False, reads: bool = True) -> None:
        self.streams, self.reads = streams, reads
        self.asked = asyncio.Event()
        self.learned: list[tuple[str, float]] = []

    async def __call__(self, scope, receive, send) -> None:
        self.asked.set()
        try:
            if self.reads:
                await read_all(receive)
            if self.streams:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                while True:
                    await send({"type": "http.response.body", "body": b"word ", "more_body": True})
                    await asyncio.sleep(0.001)
            while (await receive())["type"] != "http.disconnect":
                pass
            self.learned.append(("receive", time.monotonic()))
            with pytest.raises(OSError, match="closed its connection"):
                await say(send)
        except OSError:
            self.learned.append(("send" if self.streams else "body", time.monotonic()))
            raise


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
@pytest.mark.parametrize("moment", ["working", "body", "stream", "ignored body"])
def test_an_application_learns_at_once_that_its_client_left(run, moment: str, leave: str) -> None:
    async def main() -> None:
        app = Watching(streams=moment == "stream", reads=moment != "ignored body")
        async with serving(app) as served:
            client = await served.connect()
            whole = post(b"x" * 100)
            await client.send(whole[:-50] if "body" in moment else whole)
            await app.asked.wait()
            if moment == "stream":
                await client.until(b"word ", 3)
            began = time.monotonic()
            if leave == "close":
                client.sock.close()
            else:
                getattr(client, leave)()
            await until(lambda: app.learned)
            how, at = app.learned[0]
            assert at - began < 0.2
            assert how == {"body": "body", "stream": "send"}.get(moment, "receive")
            await until(lambda: not served.server._active)
            if leave == "half_close" and moment == "stream":
                assert b"0\r\n\r\n" not in await client.to_end()  # never ended as if it were whole
            await until(lambda: not served.open_now)

    run(main)


def test_a_client_that_left_is_noticed_behind_its_pipelined_requests(run) -> None:
    async def main() -> None:
        app = Watching()
        async with serving(app) as served:
            client = await served.connect()
            await client.send(get() * 20)
            await app.asked.wait()
            client.sock.close()
            await until(lambda: app.learned)
            await until(lambda: not served.open_now and not served.server._active)
            assert len(app.learned) == 1  # those behind it were never begun

    run(main)


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GE", b"GET / HTTP/1.1\r\nHo"])
def test_a_client_that_leaves_before_its_request_leaves_nothing(run, sent: bytes) -> None:
    async def main() -> None:
        app = Watching()
        async with serving(app) as served:
            for _ in range(10):
                client = await served.connect()
                await client.send(sent)
                await until(lambda: served.open_now == 1)
                client.sock.close()
                await until(lambda: not served.open_now)
            assert not app.asked.is_set()

    run(main)


def test_a_client_that_resets_before_it_is_accepted_harms_nobody(run) -> None:
    async def main() -> None:
        async def app(scope, receive, send) -> None:
            await say(send)

        async with serving(app) as served:
            for _ in range(20):
                (await served.connect()).reset()
            client = await served.connect()
            await client.send(get())
            await client.until(b"ok")
            await until(lambda: served.open_now == 1)

    run(main)
