"""Applications that fail, or do not keep to ASGI: their clients are not misled, and nobody else notices."""

import asyncio
import logging

import pytest

from rigs.http_server import CLOSE, echo, get, post, read_all, say, serving, until

START = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes = b"", *, more: bool = False) -> dict:
    return {"type": "http.response.body", "body": data, "more_body": more}


def start(status: int = 200, **headers: str) -> dict:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": named}


BAD = {
    "nothing": [],
    "head alone": [START],
    "body first": [body(b"x")],
    "two heads": [START, START],
    "CR LF in a value": [start(x="a\r\nSet-Cookie: b")],
    "LF in a value": [start(x="a\nb")],
    "CR in a value": [start(x="a\rb")],
    "NUL in a value": [start(x="a\0b")],
    "CR LF in a name": [start(**{"x\r\ny": "a"})],
    "status 103": [start(103)],
    "status 42": [start(42)],
    "length that is none": [start(content_length="ten")],
    "negative length": [start(content_length="-1")],
    "too long at once": [start(content_length="2"), body(b"abc")],
    "too short at once": [start(content_length="9"), body(b"abc")],
}


@pytest.mark.parametrize("what", BAD)
def test_a_reply_that_cannot_be_sent_is_a_500_and_is_logged(run, what: str, caplog) -> None:
    async def app(scope, receive, send) -> None:
        await read_all(receive)
        for message in BAD[what]:
            await send(message)
        if what not in ("nothing", "head alone"):
            await send(body())

    async def main() -> None:
        async with serving(app) as served:
            [reply] = await served.ask(get("/%0aforged"))
            assert (reply.status, reply.get("connection")) == (500, "close")
            assert b"internal_error" in reply.body
            assert b"Set-Cookie" not in reply.body

    with caplog.at_level(logging.ERROR):
        run(main)
    assert "the application" in caplog.text
    assert "\nforged" not in caplog.text


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("raises", True),
        ("returns", True),
        ("short", True),
        ("long", True),
        ("raises", False),
        ("returns", False),
    ],
)
def test_a_reply_that_is_left_unfinished_is_never_terminated(
    run, ends: str, version: str, said: bool, caplog
) -> None:
    async def app(scope, receive, send) -> None:
        await send(start(content_length="8") if said else START)
        await send(body(b"half", more=True))
        if ends == "raises":
            raise ZeroDivisionError
        if ends == "short":
            await send(body(b"fou"))
        if ends == "long":
            await send(body(b"morethanfour"))

    async def main() -> None:
        async with serving(app) as served:
            client = await served.connect()
            await client.send(get("/", version=version) + get("/2"))
            if version == "1.0" and not said:
                # Only a reset tells such a client that the end is not the end.
                with pytest.raises(ConnectionResetError):
                    await client.to_end()
                return
            [reply] = await client.replies()
            assert not reply.whole
            assert reply.body in (b"half", b"halffou")

    run(main)
    assert caplog.records


def test_headers_that_frame_a_reply_are_the_servers_own(run) -> None:
    async def app(scope, receive, send) -> None:
        if scope["path"] == "/chunked":
            await send(start(transfer_encoding="chunked", date="then", connection="keep-alive"))
            await send(body(b"a", more=True))
            await send(body(b"b"))
        elif scope["path"] == "/close":
            await send(start(connection="Close"))
            await send(body(b"c"))
        else:
            await send(start(content_length="3", x_one="1"))
            await send(body(b"a", more=True))
            await send(body(b"", more=True))
            await send(body(b"bc"))

    async def main() -> None:
        async with serving(app) as served:
            first, second, third = await served.ask(get("/chunked") + get() + get("/close") + get("/never"))
            assert (first.body, first.whole, first.get("transfer-encoding")) == (b"ab", True, "chunked")
            assert first.get("date").endswith("GMT")
            assert first.get("connection") is None
            assert (second.body, second.get("content-length"), second.get("x-one")) == (b"abc", "3", "1")
            assert (third.body, third.get("connection")) == (b"c", "close")

    run(main)


def test_sending_after_the_end_is_an_error_and_harms_nothing(run, caplog) -> None:
    async def app(scope, receive, send) -> None:
        await say(send)
        with pytest.raises(RuntimeError):
            await send(body(b"more"))
        with pytest.raises(RuntimeError):
            await send(START)
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        raise ZeroDivisionError

    async def main() -> None:
        async with serving(app) as served:
            replies = await served.ask(get() + get("/", CLOSE))
            assert [r.body for r in replies] == [b"ok", b"ok"]

    run(main)
    assert "ZeroDivisionError" in caplog.text


def test_a_failing_application_does_not_disturb_other_connections(run, caplog) -> None:
    async def app(scope, receive, send) -> None:
        if scope["path"] == "/fail":
            raise RuntimeError("no")
        await echo(scope, receive, send)

    async def main() -> None:
        async with serving(app) as served:
            good = await served.connect()
            for n in range(20):
                [reply] = await served.ask(get("/fail"))
                assert reply.status == 500
                await good.send(post(b"x"))
                await good.until(b"POST /? x", n + 1)

    run(main)
    assert len(caplog.records) == 20


def test_an_application_may_read_with_a_time_limit_of_its_own(run) -> None:
    async def app(scope, receive, send) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.02)
        await asyncio.sleep(0.8)
        await say(send, await read_all(receive))

    async def main() -> None:
        async with serving(app, idle_s=0.2) as served:
            client = await served.connect()
            await client.send(post(b"abc", CLOSE)[:-3])
            await until(lambda: served.server._active)
            await asyncio.sleep(0.1)
            await client.send(b"abc")
            [reply] = await client.replies()
            assert reply.body == b"abc"

    run(main)
