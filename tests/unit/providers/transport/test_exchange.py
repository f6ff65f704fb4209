"""One request and its reply, against a server that controls every byte."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigs.raw_server import CLOSE, OK, RESET, raw_server
from trimtab.providers.transport import Client, ClientOptions
from trimtab.types.errors import ConfigError, ConnectFailed, ConnectionLost, MalformedReply, ReplyTooLarge

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def client_of(server, **options):
    client = Client(ClientOptions(base_url=server.url, **options))
    try:
        yield client
    finally:
        await client.aclose()


async def fetch(client: Client, body: bytes = b"") -> tuple[int, bytes]:
    async with client.request("POST", "/x", body) as exchange:
        return exchange.status, await exchange.body()


def run(main) -> None:
    async def limited():
        async with asyncio.timeout(20):
            await main()

    asyncio.run(limited())


def one(answer, **options) -> tuple[int, bytes]:
    """Ask once, and return status and body."""
    got = []

    async def main():
        async with raw_server(answer) as server, client_of(server, **options) as client:
            got.append(await fetch(client))

    run(main)
    return got[0]


# --- the request --------------------------------------------------------------------------------------------


def test_a_request_is_written_whole_with_its_frame_and_the_clients_headers():
    async def main():
        async with raw_server(OK) as server:
            headers = (("Authorization", "Bearer k"), ("X-Own", "é"))
            async with client_of(server, headers=headers) as client:
                async with client.request("POST", "/chat", b'{"a":1}') as exchange:
                    assert exchange.status == 200
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /v1/chat HTTP/1.1"
        assert set(lines[1:]) == {
            b"Content-Type: application/json",
            b"Content-Length: 7",
            b"Host: 127.0.0.1:%d" % server.port,
            b"Accept: */*",
            b"Accept-Encoding: identity",
            b"Authorization: Bearer k",
            "X-Own: é".encode("latin-1"),
        }
        assert body == b'{"a":1}'

    run(main)


@pytest.mark.parametrize(("name", "value"), [("X", "a\r\nEvil: 1"), ("X\n", "a"), ("X", "\0")])
def test_a_header_that_would_break_the_request_is_refused(name, value):
    with pytest.raises(ConfigError, match="line break"):
        Client(ClientOptions(base_url="http://127.0.0.1:1/v1", headers=((name, value),)))


def test_a_header_that_http_cannot_carry_is_refused_without_being_shown():
    with pytest.raises(ConfigError, match="Latin-1") as refused:
        Client(
            ClientOptions(base_url="http://127.0.0.1:1/v1", headers=(("Authorization", "Bearer sk-secret…"),))
        )
    assert "secret" not in refused.value.message


# --- framing of the reply -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK, (200, b"{}")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", (200, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", (200, b"{}")),
        (CHUNKED + b"1;x=y\r\n{\r\n1\r\n}\r\n0\r\nTrailer: t\r\n\r\n", (200, b"{}")),
        ([b"HTTP/1.1 200 OK\r\n\r\nuntil the ", 0.01, b"end", CLOSE], (200, b"until the end")),
        ([b"HTTP/1.0 200 OK\r\n\r\n", CLOSE], (200, b"")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, b"{}")),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, (200, b"{}")),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", 0.01, OK], (200, b"{}")),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", (302, b"")),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", (500, b"oops")),
    ],
)
def test_replies_in_every_framing(answer, expected):
    assert one(answer) == expected


REPLY = CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


@settings(max_examples=25)
@given(st.lists(st.integers(1, len(REPLY) - 1), max_size=6, unique=True))
def test_a_reply_is_the_same_at_any_chunking(cuts):
    at = sorted(cuts)
    pieces = [REPLY[a:b] for a, b in zip([0, *at], [*at, len(REPLY)], strict=True)]
    steps = [step for piece in pieces for step in (piece, 0.0005)]
    assert one(steps) == (200, b"hello world")


def test_interim_heads_leave_no_headers_behind():
    async def main():
        interim = b"HTTP/1.1 103 Early Hints\r\nX-Request-Id: early\r\n\r\n"
        final = b"HTTP/1.1 200 OK\r\nX-Request-ID: real\r\nA: 1\r\na: 2\r\nContent-Length: 0\r\n\r\n"
        async with raw_server(interim + final) as server, client_of(server) as client:
            async with client.request("POST", "/x") as exchange:
                assert exchange.header(b"x-request-id") == "real"
                assert exchange.header(b"missing") == ""
                assert [value for name, value in exchange.headers if name == b"a"] == [b"1", b"2"]
                assert exchange.received() == len(interim + final)

    run(main)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE], ConnectionLost, "before its head"),
        ([b"", CLOSE], ConnectionLost, "before its head"),
        ([RESET], ConnectionLost, "before its head"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", CLOSE], ConnectionLost, "middle of its body"),
        ([CHUNKED + b"5\r\nhel", CLOSE], ConnectionLost, "middle of its body"),
        ([CHUNKED + b"5\r\nhello\r\n", CLOSE], ConnectionLost, "middle of its body"),
        ([b"HTTP/1.1 200 OK\r\n\r\nuntil", 0.05, RESET], ConnectionLost, "middle of its body"),
        (b"SSH-2.0-OpenSSH_9\r\n", MalformedReply, "not HTTP/1.1"),
        (b"HTTP/1.1 abc\r\n\r\n", MalformedReply, "not HTTP/1.1"),
        (CHUNKED + b"zz\r\n", MalformedReply, "not HTTP/1.1"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nxyz",
            MalformedReply,
            "not HTTP/1.1",
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            MalformedReply,
            "switch protocols|not HTTP",
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, MalformedReply, "head is over 65536 bytes"),
        ([b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"x" * 9000 + b"\r\n"] * 9], MalformedReply, "head is over"),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 4000, MalformedReply, "head is over"),
    ],
)
def test_replies_that_break_or_are_none(answer, error, words):
    with pytest.raises(error, match=words):
        one(answer)


def test_a_body_over_the_limit_is_refused_and_the_connection_closed():
    async def main():
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
        async with raw_server([head % 5000 + b"x" * 1000, 30.0]) as server:
            async with client_of(server, max_reply_bytes=999) as client:
                with pytest.raises(ReplyTooLarge, match="999"):
                    await fetch(client)
                assert len(client._all) == 0
        async with raw_server(head % 1000 + b"x" * 1000) as server:
            async with client_of(server, max_reply_bytes=1000) as client:
                assert await fetch(client) == (200, b"x" * 1000)

    run(main)


def test_the_beginning_of_a_body_is_read_without_waiting_for_the_rest():
    async def main():
        head = b"HTTP/1.1 500 Oops\r\nContent-Length: 100000\r\n\r\n"
        async with raw_server([head + b"x" * 5000, 30.0]) as server, client_of(server) as client:
            async with asyncio.timeout(5):
                async with client.request("POST", "/x") as exchange:
                    assert await exchange.body(1000) == b"x" * 1000
            await server.until(lambda: client.idle == 0)

    run(main)


def test_a_slow_reader_slows_the_provider():
    """Back-pressure: what is not read stays in the provider's hands, not in our memory."""

    async def main():
        size = 64 << 20
        sent = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, *[b"x" * 65536] * (size // 65536)]
        async with raw_server(sent) as server, client_of(server, max_reply_bytes=1 << 30) as client:
            async with client.request("POST", "/x") as exchange:
                last, still = -1, 0
                while still < 20:
                    await asyncio.sleep(0.01)
                    now = exchange.received()
                    still = still + 1 if now == last else 0
                    last = now
                assert last < 1 << 20
                total = 0
                while data := await exchange.read():
                    total += len(data)
                assert total == size

    run(main)


def test_reading_outside_the_block_is_a_programming_error():
    async def main():
        async with raw_server(OK) as server, client_of(server) as client:
            async with client.request("POST", "/x") as exchange:
                pass
            assert exchange.received() == 0
            with pytest.raises(RuntimeError, match="closed"):
                await exchange.read()
            with pytest.raises(RuntimeError, match="closed"):
                _ = exchange.headers

    run(main)


@pytest.mark.parametrize(
    "url",
    ["", "api.openai.com/v1", "ftp://x/", "http://", "http://x:99999/", "http://x:abc/", "//x/v1"],
)
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="must look like"):
        Client(ClientOptions(base_url=url, what="provider 'x'"))


@pytest.mark.parametrize("url", ["http://u:p@x/v1", "http://x/v1?key=1", "http://x/v1#f"])
def test_a_base_url_with_secrets_or_extras_is_refused(url):
    with pytest.raises(ConfigError, match="api_key"):
        Client(ClientOptions(base_url=url))


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("http://x", "x", 80, "", "x"),
        ("http://x:80/", "x", 80, "", "x"),
        ("https://x/v1/", "x", 443, "/v1", "x"),
        ("https://x:443/a/b", "x", 443, "/a/b", "x"),
        ("https://x:80", "x", 80, "", "x:80"),
        ("http://[::1]:8080/v1", "::1", 8080, "/v1", "[::1]:8080"),
        ("http://[::1]", "::1", 80, "", "[::1]"),
    ],
)
def test_a_base_url_taken_apart(url, host, port, path, authority):
    origin = Client(ClientOptions(base_url=url)).origin
    assert (origin.host, origin.port, origin.path, origin.authority) == (host, port, path, authority)
    assert origin.tls is url.startswith("https")


def test_nobody_listening_is_a_failed_connection():
    import socket

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        async def main():
            client = Client(ClientOptions(base_url=url))
            with pytest.raises(ConnectFailed, match=url.removeprefix("http://")):
                await fetch(client)
            await client.aclose()

        run(main)
