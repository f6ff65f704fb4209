"""Requests in, replies out: framing, keep-alive, pipelining."""

import asyncio

import pytest

from rigs.http_server import CLOSE, chunked, echo, get, parse, post, read_all, say, serving, until


def test_a_connection_serves_request_after_request_until_close_is_asked(run) -> None:
    async def main() -> None:
        async with serving(echo) as served:
            client = await served.connect()
            for n in range(5):
                await client.send(post(b"x" * n, path=f"/{n}?q={n}"))
                await client.until(b"HTTP/1.1 200", n + 1)
            await client.send(get("/last", CLOSE))
            replies = await client.replies()
        assert [r.body for r in replies] == [b"POST /%d?q=%d " % (n, n) + b"x" * n for n in range(5)] + [
            b"GET /last? "
        ]
        assert [r.get("connection") for r in replies] == [None] * 5 + ["close"]
        assert all(r.get("date").endswith(" GMT") for r in replies)

    run(main)


def test_what_follows_a_last_request_is_ignored(run) -> None:
    async def main() -> None:
        async with serving(echo) as served:
            for after in (get("/never"), b"garbage\0", b"\r\n\r\n"):
                [reply] = await served.ask(post(b"ab", CLOSE) + after)
                assert reply.body == b"POST /? ab"
                client = await served.connect()
                await client.send(post(b"ab", CLOSE))
                await client.until(b"ab")
                [reply] = await client.replies()
                assert reply.get("connection") == "close"

    run(main)


def test_http_1_0_closes_unless_asked_to_keep_alive(run) -> None:
    async def main() -> None:
        async with serving(echo) as served:
            [reply] = await served.ask(b"GET /a HTTP/1.0\r\n\r\n")
            assert (reply.body, reply.get("connection")) == (b"GET /a? ", "close")
            kept = b"GET /b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
            first, second = await served.ask(kept + b"GET /c HTTP/1.0\r\n\r\n")
            assert (first.body, first.get("connection")) == (b"GET /b? ", "keep-alive")
            assert (second.body, second.get("connection")) == (b"GET /c? ", "close")

    run(main)


async def count_to_three(scope, receive, send) -> None:
    await read_all(receive)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for piece in (b"one", b"", b"two", b"three"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def test_a_stream_is_chunked_and_for_http_1_0_ends_with_the_connection(run) -> None:
    async def main() -> None:
        async with serving(count_to_three) as served:
            first, second = await served.ask(get() + get("/", CLOSE))
            assert first.get("transfer-encoding") == "chunked"
            assert (first.body, first.whole, second.body) == (b"onetwothree", True, b"onetwothree")
            [reply] = await served.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert (reply.body, reply.get("transfer-encoding")) == (b"onetwothree", None)
            assert reply.get("connection") == "close"

    run(main)


def test_replies_to_pipelined_requests_come_in_their_order(run) -> None:
    async def slower_first(scope, receive, send) -> None:
        body = await read_all(receive)
        await asyncio.sleep(0.02 if scope["path"] == "/0" else 0)
        await say(send, scope["path"].encode() + body)

    async def main() -> None:
        async with serving(slower_first) as served:
            asked = [post(b"x" * (n % 50), path=f"/{n}") for n in range(500)]
            replies = await served.ask(b"".join(asked) + get("/end", CLOSE))
        assert [r.body for r in replies] == [b"/%d" % n + b"x" * (n % 50) for n in range(500)] + [b"/end"]

    run(main)


def test_what_pipelined_requests_hold_is_bounded(run) -> None:
    """A client that sends requests without end, and waits for no reply, is not read on from."""

    async def main() -> None:
        go_on = asyncio.Event()

        async def waits(scope, receive, send) -> None:
            await go_on.wait()
            await say(send)

        async with serving(waits) as served:
            client = await served.connect()
            client.sock.setblocking(False)
            one = get("/", "X-Padding: " + "x" * 200 + "\r\n")
            small, sent = one * 1000, 0
            quiet = 0
            while quiet < 50:
                try:
                    sent += client.sock.send(small[sent % len(one) :])
                    quiet = 0
                except BlockingIOError:
                    quiet += 1
                    await asyncio.sleep(0.002)
            [connection] = served.server._connections
            assert len(connection._queue) <= 8192 // len(one) + 1
            assert len(connection._rest) <= 65_536 + 262_144
            assert not connection._reading
            go_on.set()
            read, reply = 0, 0
            while not reply or read < sent // len(one) * reply:
                data = await client.some()
                read += len(data)
                reply = reply or data.index(b"\r\n\r\nok") + 6

    run(main)


def test_requests_split_at_every_byte_are_the_same_requests(run) -> None:
    data = (
        post(b"hello", "X-Long: " + "v" * 40 + "\r\n", "/p?a=b")
        + chunked(b"abc", b"de", trailer=b"T: 1\r\n")
        + get("/z", CLOSE)
    )

    async def main() -> None:
        async with serving(echo) as served:
            expected = [b"POST /p?a=b hello", b"POST /? abcde", b"GET /z? "]
            assert [r.body for r in await served.ask(data)] == expected
            for cut in range(1, len(data), 3):
                client = await served.connect()
                await client.send(data[:cut])
                await asyncio.sleep(0)
                await client.send(data[cut:])
                assert [r.body for r in await client.replies()] == expected
                client.sock.close()
            client = await served.connect()
            for byte in data:
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert [r.body for r in await client.replies()] == expected

    run(main)


def test_trailers_are_dropped_and_chunk_extensions_ignored(run) -> None:
    seen = []

    async def looks(scope, receive, send) -> None:
        await read_all(receive)
        seen.append([name for name, _ in scope["headers"]])
        await say(send)

    async def main() -> None:
        async with serving(looks) as served:
            head = get("/", "Transfer-Encoding: chunked\r\n", method="POST")
            asked = head + b'3;a=b;c="d"\r\nabc\r\n0\r\nAuthorization: x\r\nHost: b\r\n\r\n'
            assert len(await served.ask(asked + get("/", CLOSE))) == 2
        assert seen == [[b"host", b"transfer-encoding"], [b"host", b"connection"]]

    run(main)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)])
def test_replies_without_a_body_have_none(run, method: str, status: int, streamed: bool) -> None:
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"12345", "more_body": streamed})
        if streamed:
            await send({"type": "http.response.body", "body": b"678"})

    async def main() -> None:
        async with serving(app) as served:
            ask = get("/", method=method)
            client = await served.connect()
            await client.send(ask)
            await client.until(b"\r\n\r\n")
            await client.send(ask + get("/", CLOSE, method=method))
            replies = await client.replies("HHH" if method == "HEAD" else "")
        assert [(r.status, r.body) for r in replies] == [(status, b"")] * 3
        lengths = {r.get("content-length") for r in replies}
        assert lengths == ({"5"} if method == "HEAD" and not streamed else {None})
        assert all(r.get("transfer-encoding") is None for r in replies) or (method == "HEAD" and streamed)

    run(main)


def test_100_continue_is_sent_once_and_only_when_the_application_reads(run) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def app(scope, receive, send) -> None:
            if scope["path"] == "/no":
                await say(send, b"no", 417)
                return
            await go_on.wait()
            await say(send, await read_all(receive))

        async with serving(app) as served:
            expect = "Expect: 100-Continue\r\nContent-Length: 4\r\n"
            client = await served.connect()
            await client.send(get("/", expect, method="POST"))
            await until(lambda: served.server._active)
            await asyncio.sleep(0.05)
            with pytest.raises(BlockingIOError):
                client.sock.recv(1)
            go_on.set()
            await client.until(b"\r\n\r\n")
            await client.send(b"ab")
            await asyncio.sleep(0.02)
            await client.send(b"cd" + get("/no", CLOSE))
            statuses = [(r.status, r.body) for r in await client.replies()]
            assert statuses == [(100, b""), (200, b"abcd"), (417, b"no")]
            # One who does not wait needs none, nor does one whose reply needs no body; HTTP/1.0 has none.
            assert [
                r.status for r in await served.ask(post(b"1234", "Expect: 100-continue\r\n" + CLOSE))
            ] == [200]
            [reply] = await served.ask(get("/no", expect, method="POST"))
            assert (reply.status, reply.get("connection")) == (417, "close")
            old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
            client = await served.connect()
            await client.send(old)
            await asyncio.sleep(0.05)
            await client.send(b"1234")
            assert [r.status for r in await client.replies()] == [200]

    run(main)


def test_the_scope_says_what_was_asked(run) -> None:
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append(scope)
        await say(send)

    async def main() -> None:
        async with serving(app) as served:
            await served.ask(get("/a%20b/%E3%81%82?x=%20", "X-One: 1\r\nx-one:  2 \r\n" + CLOSE))
            [scope] = seen
            assert (scope["path"], scope["raw_path"]) == ("/a b/あ", b"/a%20b/%E3%81%82")
            assert (scope["query_string"], scope["method"]) == (b"x=%20", "GET")
            assert (scope["http_version"], scope["scheme"], scope["type"]) == ("1.1", "http", "http")
            assert scope["headers"] == [
                (b"host", b"a"),
                (b"x-one", b"1"),
                (b"x-one", b"2"),
                (b"connection", b"close"),
            ]
            assert scope["server"] == ("127.0.0.1", served.port)

    run(main)


def test_two_receivers_of_one_request_both_learn_of_its_end(run) -> None:
    async def main() -> None:
        ends = []

        async def app(scope, receive, send) -> None:
            await read_all(receive)

            async def listen() -> None:
                ends.append((await receive())["type"])

            async with asyncio.TaskGroup() as tasks:
                for _ in range(2):
                    tasks.create_task(listen())
                await asyncio.sleep(0)
                await say(send)

        async with serving(app) as served:
            [reply] = await served.ask(get("/", CLOSE))
        assert reply.status == 200
        assert ends == ["http.disconnect"] * 2

    run(main)


def test_the_rig_reads_replies() -> None:
    assert parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")[0].whole is False
