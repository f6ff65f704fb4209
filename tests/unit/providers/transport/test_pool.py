"""Connections are used again, never wrongly; the cap holds; a cancelled call leaves nothing behind."""

import asyncio
import time

import pytest

from rigs.raw_server import CLOSE, OK, raw_server
from trimtab.providers.transport import Client, ClientOptions
from trimtab.types.errors import ConnectFailed, ConnectionLost

from trimtab.providers.transport import client as client_module  # isort: skip

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def run(main) -> None:
    async def limited():
        async with asyncio.timeout(20):
            await main()

    asyncio.run(limited())


def of(server, **options) -> Client:
    return Client(ClientOptions(base_url=server.url, **options))


async def fetch(client: Client) -> bytes:
    async with client.request("POST", "/x") as exchange:
        return await exchange.body()


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_connection_whose_reply_was_read_whole_is_used_again(answer):
    async def main():
        async with raw_server(answer) as server:
            client = of(server)
            for _ in range(5):
                await fetch(client)
                assert client.idle == 1
            assert server.on == [1] * 5
            await client.aclose()
            await server.until(lambda: server.open_now == 0)

    run(main)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        [b"HTTP/1.1 200 OK\r\n\r\n{}", CLOSE],
    ],
)
def test_a_connection_that_the_provider_will_close_is_not_used_again(answer):
    async def main():
        async with raw_server(answer) as server:
            client = of(server)
            for _ in range(3):
                assert await fetch(client) == b"{}"
                assert client.idle == 0
            assert server.on == [1, 2, 3]
            await client.aclose()

    run(main)


def test_a_reply_that_was_not_read_to_its_end_closes_its_connection():
    async def main():
        long = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
        async with raw_server([long, 30.0]) as server:
            client = of(server)
            async with client.request("POST", "/x") as exchange:
                assert await exchange.read() == b"half"
            assert client.idle == 0
            await client.aclose()
            assert len(client._all) == 0

    run(main)


@pytest.mark.parametrize(
    "extra", [b"x", b"\x00", OK, b"HTTP/1.1 200 OK\r\nEvil: 1\r\nContent-Length: 4\r\n\r\nevil"]
)
@pytest.mark.parametrize("apart", [False, True], ids=["same read", "later read"])
def test_bytes_after_a_reply_neither_join_it_nor_answer_the_next_request(extra, apart):
    async def main():
        first = [OK, 0.05, extra] if apart else [OK + extra]
        async with raw_server([*first, 30.0], OK) as server:
            client = of(server)
            async with client.request("POST", "/x") as exchange:
                assert exchange.header(b"evil") == ""
                assert await exchange.body() == b"{}"
            if apart:
                await server.until(lambda: client.idle == 0)
            assert client.idle == 0
            assert await fetch(client) == b"{}"
            assert server.on == [1, 2]
            await client.aclose()

    run(main)


def test_unasked_bytes_on_a_new_connection_end_it():
    async def speak_first(reader, writer):
        writer.write(OK)
        await writer.drain()

    async def main():
        async with raw_server([30.0], on_connect=speak_first) as server:
            client = of(server)
            connection = await client.fresh(1)
            await server.until(lambda: connection.closed)
            await client.aclose()

    run(main)


# --- connections that the provider closed meanwhile ---------------------------------------------------------


def test_an_idle_connection_that_the_provider_closed_leaves_the_pool():
    async def main():
        async with raw_server([OK, 0.05, CLOSE], OK) as server:
            client = of(server)
            await fetch(client)
            assert client.idle == 1
            await server.until(lambda: client.idle == 0)
            assert len(client._all) == 0
            assert await fetch(client) == b"{}"
            assert server.on == [1, 2]
            await client.aclose()

    run(main)


def test_a_pooled_connection_that_closes_as_we_write_is_asked_again_once_on_a_fresh_one():
    async def main():
        async with raw_server(OK, [CLOSE], OK) as server:
            client = of(server)
            await fetch(client)
            assert await fetch(client) == b"{}"
            assert server.on == [1, 1, 2]
            assert client.idle == 1
            await client.aclose()

    run(main)


def test_it_is_asked_again_once_only():
    async def main():
        async with raw_server(OK, [CLOSE], [CLOSE], OK) as server:
            client = of(server)
            await fetch(client)
            with pytest.raises(ConnectionLost):
                await fetch(client)
            assert server.on == [1, 1, 2]
            assert client.idle == 0
            assert len(client._all) == 0
            await client.aclose()

    run(main)


def test_a_new_connection_that_closes_is_not_asked_again_by_the_transport():
    async def main():
        async with raw_server([CLOSE], OK) as server:
            client = of(server)
            with pytest.raises(ConnectionLost):
                await fetch(client)
            assert len(server.requests) == 1
            await client.aclose()

    run(main)


@pytest.mark.parametrize("beginning", [b"H", b"HTTP/1.1 200 OK\r\n", OK[:-1]])
def test_a_request_that_was_being_answered_is_never_asked_again(beginning):
    async def main():
        async with raw_server(OK, [beginning, 0.01, CLOSE], OK) as server:
            client = of(server)
            await fetch(client)
            with pytest.raises(ConnectionLost):
                await fetch(client)
            assert len(server.requests) == 2
            await client.aclose()

    run(main)


def test_a_connection_that_is_closing_but_has_not_been_told_is_not_used():
    """Between a provider's FIN and `connection_lost` lies one turn of the loop; a request may begin in it."""

    async def main():
        async with raw_server(OK) as server:
            client = of(server)
            await fetch(client)
            [pooled] = client._idle
            pooled._transport.close()
            assert not pooled.closed
            assert await fetch(client) == b"{}"
            assert server.on == [1, 2]
            await client.aclose()

    run(main)


def test_connections_idle_for_too_long_are_not_used(monkeypatch):
    monkeypatch.setattr(client_module, "_IDLE_S", 0.02)

    async def main():
        async with raw_server(OK) as server:
            client = of(server)
            await fetch(client)
            await asyncio.sleep(0.03)
            await fetch(client)
            assert server.on == [1, 2]
            await server.until(lambda: server.open_now == 1)
            assert len(client._all) == 1
            await client.aclose()

    run(main)


# --- the cap ------------------------------------------------------------------------------------------------


def test_the_cap_holds_and_everyone_is_served():
    async def main():
        async with raw_server([0.01, OK]) as server:
            client = of(server, max_connections=3)
            bodies = await asyncio.gather(*(fetch(client) for _ in range(30)))
            assert bodies == [b"{}"] * 30
            assert server.connections == 3
            assert client.idle == 3
            assert not client._waiting
            await client.aclose()

    run(main)


def test_a_waiter_gets_the_place_of_a_connection_that_was_closed():
    async def main():
        async with raw_server(
            [0.02, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"]
        ) as s:
            client = of(s, max_connections=1)
            assert await asyncio.gather(*(fetch(client) for _ in range(4))) == [b"{}"] * 4
            assert s.on == [1, 2, 3, 4]
            await client.aclose()

    run(main)


@pytest.mark.parametrize("when", ["before its turn", "at its turn"])
def test_a_waiter_that_is_cancelled_passes_its_turn_on(when):
    async def main():
        async with raw_server([0.05, OK]) as server:
            client = of(server, max_connections=1)
            async with asyncio.TaskGroup() as group:
                first = group.create_task(fetch(client))
                await server.until(lambda: server.requests)
                second, third = (group.create_task(fetch(client)) for _ in range(2))
                await server.until(lambda: len(client._waiting) == 2)
                if when == "at its turn":
                    await first  # its waiter was woken in this very turn of the loop
                second.cancel()
            assert second.cancelled() or when == "at its turn"
            assert third.result() == b"{}"
            assert not client._waiting
            assert len(client._all) == 1
            await client.aclose()

    run(main)


def test_a_failed_dial_passes_the_place_on():
    import socket

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        async def main():
            client = Client(ClientOptions(base_url=url, max_connections=1))
            results = await asyncio.gather(*(fetch(client) for _ in range(5)), return_exceptions=True)
            assert [type(r) for r in results] == [ConnectFailed] * 5
            assert client._opening == 0
            await client.aclose()

        run(main)


# --- lingering ----------------------------------------------------------------------------------------------


def test_a_stream_whose_content_has_ended_lingers_for_its_framing_and_is_pooled():
    async def main():
        async with raw_server([CHUNKED + b"4\r\ndone\r\n", 0.05, b"0\r\n\r\n"]) as server:
            client = of(server)
            async with client.request("POST", "/x") as exchange:
                assert await exchange.read() == b"done"
                exchange.ended = True
            assert client.idle == 0
            await server.until(lambda: client.idle == 1)
            assert await fetch(client) == b"done"
            assert server.on == [1, 1]
            await client.aclose()

    run(main)


@pytest.mark.parametrize("end", [[30.0], [0.01, CLOSE], [0.01, b"zz\r\n", 30.0]])
def test_a_lingering_connection_that_does_not_end_well_is_closed(monkeypatch, end):
    monkeypatch.setattr(client_module, "_LINGER_S", 0.05)

    async def main():
        async with raw_server([CHUNKED + b"4\r\ndone\r\n", *end]) as server:
            client = of(server)
            async with client.request("POST", "/x") as exchange:
                await exchange.read()
                exchange.ended = True
            assert len(client._all) == 1
            await server.until(lambda: len(client._all) == 0)
            assert client.idle == 0
            await client.aclose()

    run(main)


def test_a_lingering_connection_drops_what_nobody_reads_any_more():
    async def main():
        more = b"5\r\nextra\r\n0\r\n\r\n"
        async with raw_server([CHUNKED + b"4\r\ndone\r\n", 0.03, more], OK) as server:
            client = of(server)
            async with client.request("POST", "/x") as exchange:
                await exchange.read()
                exchange.ended = True
            await server.until(lambda: client.idle == 1)
            assert await fetch(client) == b"{}"
            assert server.on == [1, 1]
            await client.aclose()

    run(main)


def test_lingering_counts_against_the_cap_and_lets_the_next_one_in():
    async def main():
        async with raw_server([CHUNKED + b"4\r\ndone\r\n", 0.05, b"0\r\n\r\n"]) as server:
            client = of(server, max_connections=1)
            async with client.request("POST", "/x") as exchange:
                await exchange.read()
                exchange.ended = True
            assert await fetch(client) == b"done"
            assert server.on == [1, 1]
            await client.aclose()

    run(main)


# --- cancelling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [[30.0], [b"HTTP/1.1 200 OK\r\n", 30.0], [CHUNKED + b"4\r\ndone\r\n", 30.0]],
    ids=["before the head", "within the head", "within the body"],
)
def test_cancelling_closes_the_socket_at_once(answer):
    async def main():
        async with raw_server(answer) as server:
            client = of(server)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(fetch(client))
                await server.until(lambda: server.requests)
                await asyncio.sleep(0.02)  # not a guess: any moment of the wait will do
                [connection] = client._all
                began = time.monotonic()
                task.cancel()
            await server.until(lambda: connection.closed, 0.1)
            assert time.monotonic() - began < 0.1
            assert task.cancelled()
            assert len(client._all) == client.idle == 0
            await client.aclose()

    run(main)


def test_closing_the_client_breaks_exchanges_off():
    async def main():
        async with raw_server([30.0]) as server:
            client = of(server)

            async def ask():
                with pytest.raises(ConnectionLost):
                    await fetch(client)

            async with asyncio.TaskGroup() as group:
                group.create_task(ask())
                await server.until(lambda: server.requests)
                await client.aclose()
            assert len(client._all) == 0

    run(main)
