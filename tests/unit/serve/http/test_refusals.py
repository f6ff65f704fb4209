"""Bytes that are no request, or that two readers could read in two ways: refused, and read no further."""

import asyncio

import pytest

from rigs.http_server import CLOSE, chunked, echo, get, post, say, serving

AMBIGUOUS = {
    "length and chunked": post(b"0\r\n\r\n", "Transfer-Encoding: chunked\r\n"),
    "chunked and length": chunked(more="Content-Length: 3\r\n"),
    "two lengths": post(b"abc", "Content-Length: 3\r\n"),
    "two other lengths": post(b"abc", "Content-Length: 4\r\n"),
    "list of lengths": get("/", "Content-Length: 3, 3\r\n", method="POST") + b"abc",
    "signed length": get("/", "Content-Length: +3\r\n", method="POST") + b"abc",
    "hex length": get("/", "Content-Length: 0x3\r\n", method="POST") + b"abc",
    "vast length": get("/", "Content-Length: 99999999999999999999999\r\n", method="POST"),
    "empty length": get("/", "Content-Length:\r\n", method="POST"),
    "coding we lack": get("/", "Transfer-Encoding: gzip, chunked\r\n", method="POST") + b"0\r\n\r\n",
    "chunked not last": get("/", "Transfer-Encoding: chunked, gzip\r\n", method="POST") + b"0\r\n\r\n",
    "chunked twice": get("/", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", method="POST"),
    "identity": get("/", "Transfer-Encoding: identity\r\n", method="POST"),
    "almost chunked": get("/", "Transfer-Encoding: xchunked\r\n", method="POST") + b"0\r\n\r\n",
    "chunked in 1.0": get("/", "Transfer-Encoding: chunked\r\n", "1.0", "POST") + b"0\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "folded at once": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF in headers": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n",
    "control in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
    "no name": b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "space in target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes in target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "relative target": b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n",
    "bad port": b"GET http://h:99999999/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown method": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\nabc",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "nonsense": b"\r\n\r\n\0\xff\xfe",
}
"""Each is one request, or less, that must get one refusal; no application may see it."""


async def unseen(scope, receive, send) -> None:
    raise AssertionError(f"an application saw {scope}")


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_a_head_that_is_not_plainly_http_1_is_refused(run, what: str) -> None:
    async def main() -> None:
        async with serving(unseen) as served:
            # What follows must not be taken for a request either.
            for after in (b"", get("/admin")):
                [reply] = await served.ask(AMBIGUOUS[what] + after)
                assert reply.status in (400, 501, 505), reply
                assert reply.get("connection") == "close"
                assert reply.get("content-type") == "application/json"
                assert b'"type":"invalid_request_error"' in reply.body
            client = await served.connect()
            for byte in AMBIGUOUS[what]:
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            [bytewise] = await client.replies()
            assert bytewise.status == reply.status

    run(main)


BAD_CHUNKS = [
    b"x\r\n",
    b"-3\r\nabc\r\n",
    b"3 ;a\r\nabc\r\n",
    b"FFFFFFFFFFFFFFFFF\r\n",
    b"3\nabc\r\n",
    b"3\r\nabcd\r\n",
    b"\r\n",
    b"0x3\r\nabc\r\n",
]


@pytest.mark.parametrize("chunk", BAD_CHUNKS)
def test_a_broken_chunk_ends_the_request_and_the_application_learns_of_it(run, chunk: bytes) -> None:
    ends = []

    async def app(scope, receive, send) -> None:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        ends.append(message["type"])

    async def main() -> None:
        async with serving(app) as served:
            head = get("/", "Transfer-Encoding: chunked\r\n", method="POST")
            [reply] = await served.ask(head + b"2\r\nab\r\n" + chunk + b"0\r\n\r\n" + get("/admin"))
            assert (reply.status, reply.get("connection")) == (400, "close")
        assert ends == ["http.disconnect"]

    run(main)


def test_what_was_asked_before_a_refusal_is_answered_first(run) -> None:
    async def main() -> None:
        async with serving(echo) as served:
            bad = b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"
            for last in (bad, chunked(b"abc")[:-7] + b"x\r\n", get("/", "X: 1\r\n" * 300)):
                replies = await served.ask(get("/1") + post(b"b", path="/2") + last)
                assert [r.status for r in replies[:2]] == [200, 200]
                assert replies[2].status in (400, 431)
                assert len(replies) == 3
                assert replies[1].body == b"POST /2? b"

    run(main)


def test_a_reply_that_has_begun_is_cut_when_its_request_turns_out_broken(run) -> None:
    async def early(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async def main() -> None:
        async with serving(early) as served:
            client = await served.connect()
            await client.send(get("/", "Transfer-Encoding: chunked\r\n", method="POST"))
            await client.until(b"half")
            await client.send(b"x\r\n")
            [reply] = await client.replies()
            assert (reply.body, reply.whole) == (b"half", False)

    run(main)


def test_heads_have_a_size_whatever_packets_they_come_in(run) -> None:
    def head(size: int) -> bytes:
        line, rest = b"GET / HTTP/1.1\r\nHost: a\r\n", b"Connection: close\r\n"
        pads = []
        counted = 1 + 9 + 21 + 4  # as the server counts: target, and each field with four bytes around it
        while counted < size:
            length = min(4000, size - counted - 7 - 4) if size - counted > 20 else size - counted
            pads.append(b"X-P%04d: %b\r\n" % (len(pads), b"v" * max(length - 7, 0)))
            counted += 7 + max(length - 7, 0) + 4
        return line + rest + b"".join(pads) + b"\r\n"

    async def main() -> None:
        async with serving(echo) as served:
            for size, status in ((60_000, 200), (70_000, 431), (200_000, 431)):
                data = head(size)
                for step in (len(data), 9000, 500):
                    client = await served.connect()
                    for at in range(0, len(data), step):
                        await client.send(data[at : at + step])
                        await asyncio.sleep(0)
                    [reply] = await client.replies()
                    assert reply.status == status, (size, step)
            # Behind a large body that shares a packet with it, a head is as good as alone.
            first, second = await served.ask(post(b"x" * 200_000, path="/1") + head(40_000))
            assert (first.status, second.status) == (200, 200)

    run(main)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (get("/" + "x" * 70_000), 431),
        (get("/", "X: 1\r\n" * 255 + CLOSE), 431),
        (get("/", "X: 1\r\n" * 254 + CLOSE), 200),
    ],
)
def test_long_targets_and_many_headers_are_refused(run, sent: bytes, status: int) -> None:
    async def main() -> None:
        async with serving(echo) as served:
            [reply] = await served.ask(sent)
            assert reply.status == status

    run(main)


@pytest.mark.parametrize("endless", [b"X-Trailer: ", b"X\r\n", b"3;ext="])
def test_what_never_becomes_a_body_is_bounded(run, endless: bytes) -> None:
    """A trailer or a chunk's extension without end is held by the parser, or costs its time for nothing."""

    async def main() -> None:
        async with serving(echo) as served:
            client = await served.connect()
            begin = (
                chunked(b"abc")[:-2] if endless != b"3;ext=" else get("/", "Transfer-Encoding: chunked\r\n")
            )
            await client.send(begin + endless)
            sent = 0
            while sent < 400_000:
                await client.send(b"y" * 1000)
                sent += 1000
                await asyncio.sleep(0)
            [reply] = await client.replies()
            assert reply.status in (400, 431)

    run(main)


def test_targets_come_in_four_forms(run) -> None:
    async def hosts(scope, receive, send) -> None:
        host = [value for name, value in scope["headers"] if name == b"host"]
        await say(send, b"%b %b %b" % (scope["path"].encode(), scope["query_string"], b",".join(host)))

    async def main() -> None:
        async with serving(hosts) as served:
            for line, body in (
                ("GET /p?q HTTP/1.1", b"/p q a"),
                ("GET http://u:p@evil:81/p?q HTTP/1.1", b"/p q evil:81"),
                ("GET http://other HTTP/1.1", b"/  other"),
                ("GET http://[::1]:80?q#f HTTP/1.1", b"/ q [::1]:80"),
                ("OPTIONS * HTTP/1.1", b"*  a"),
                ("GET //evil/p HTTP/1.1", b"//evil/p  a"),
                ("GET /#f HTTP/1.1", b"/  a"),
                ("GET /%zz%00%0a HTTP/1.1", b"/%zz\0\n  a"),
            ):
                [reply] = await served.ask(f"{line}\r\nHost: a\r\n{CLOSE}\r\n".encode())
                assert (reply.status, reply.body) == (200, body)

    run(main)


def test_an_offer_of_another_protocol_is_declined_and_the_request_answered(run) -> None:
    """Java's HttpClient offers h2c with each first request, one with a body too; WebSocket is not spoken here."""
    h2c = (
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
    )

    async def main() -> None:
        async with serving(echo) as served:
            data = (
                post(b"GET /x HTTP/1.1\r\n\r\n", h2c, "/1") + chunked(b"abc", more=h2c) + get("/3", h2c) * 200
            )
            data += get(
                "/4", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            ) + get("/5", CLOSE)
            replies = await served.ask(data)
            assert [r.body for r in replies[:2]] == [b"POST /1? GET /x HTTP/1.1\r\n\r\n", b"POST /? abc"]
            assert [r.body for r in replies[-2:]] == [b"GET /4? ", b"GET /5? "]
            assert len(replies) == 204
            client = await served.connect()
            for at in range(0, 400):
                await client.send(data[at : at + 1])
                await asyncio.sleep(0)
            await client.until(b"POST /1? GET /x HTTP/1.1")
            # What the offer itself may not do is bring a body past the rules.
            [reply] = await served.ask(post(b"abc", h2c + "Transfer-Encoding: chunked\r\n"))
            assert reply.status == 400

    run(main)
