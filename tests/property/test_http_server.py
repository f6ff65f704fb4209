"""The server under any packets: however requests are cut, and whatever bytes come instead of them."""

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rigs.http_server import CLOSE, chunked, echo, get, parse, post, run_on, serving

H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"

bodies = st.one_of(
    st.binary(max_size=50),
    st.integers(0, 30_000).map(lambda size: b"z" * size),
    st.just(b"GET /forged HTTP/1.1\r\nHost: a\r\n\r\n"),
)
extras = st.sampled_from(["", "X-One: 1\r\n", H2C, "Expect: nothing\r\n", "X-Long: " + "v" * 9000 + "\r\n"])
paths = st.sampled_from(["/", "/a?b=c", "/%E3%81%82", "http://a/abs"])
trailers = st.sampled_from([b"", b"T: 1\r\n", b"Host: b\r\nAuthorization: x\r\n"])
requests = st.one_of(
    st.builds(lambda path, more, old: get(path, more + "Connection: keep-alive\r\n" * old, "1.0" if old else "1.1"),
              paths, st.sampled_from(["", "X-One: 1\r\n"]), st.booleans()),
    st.builds(lambda body, more, path: post(body, more, path), bodies, extras, paths),
    st.builds(lambda pieces, trailer, more: chunked(*filter(None, pieces), trailer=trailer, more=more),
              st.lists(bodies, max_size=4), trailers, extras),
    st.just(get("/", H2C)),
)  # fmt: skip


def undated(data: bytes) -> bytes:
    return b"\r\n".join(line for line in data.split(b"\r\n") if not line.startswith(b"date: "))


async def said_to(served, packets: list[bytes]) -> bytes:
    client = await served.connect()
    try:
        reading = asyncio.get_running_loop().create_task(client.to_end())
        for packet in packets:
            await client.send(packet)
            await asyncio.sleep(0)
        return undated(await reading)
    finally:
        client.sock.close()


@settings(max_examples=60)
@given(st.lists(requests, min_size=1, max_size=8), st.lists(st.integers(0, 2**31), max_size=12))
def test_however_requests_are_cut_into_packets_the_replies_are_the_same(asked, cuts) -> None:
    data = b"".join(asked) + get("/last", CLOSE)
    at = sorted({cut % len(data) for cut in cuts} | {0})
    packets = [data[a:b] for a, b in zip(at, [*at[1:], len(data)], strict=True)]

    async def main() -> None:
        async with serving(echo) as served:
            alone = [await said_to(served, [one + get("/last", CLOSE)]) for one in asked]
            whole = await said_to(served, [data])
            cut = await said_to(served, packets)
        replies = parse(whole)
        assert len(replies) == len(asked) + 1
        assert all(reply.status == 200 and reply.whole for reply in replies)
        assert [reply.body for reply in replies[:-1]] == [parse(one)[0].body for one in alone]
        assert cut == whole

    run_on("uvloop", main)


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[at:at] = rng.choice(
                    [b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\t", b"0\r\n\r\n", b"A" * 9000]
                )
            case 2:
                del changed[at : at + rng.randrange(1, 20)]
            case 3:
                begin = rng.randrange(len(changed) + 1)
                changed[at:at] = changed[begin : begin + rng.randrange(1, 60)]
            case 4:
                del changed[at:]
    return bytes(changed)


def fuzz(kind: str, rounds: int) -> None:
    rng = random.Random(20261125)
    seeds = [
        get("/a?b", "X-One: 1\r\n"), post(b"abc"), chunked(b"abc", b"defg", trailer=b"T: 1\r\n"), post(b"abc", H2C),
        get("/", CLOSE), get("/", version="1.0"), get("/", "Expect: 100-continue\r\nContent-Length: 3\r\n") + b"abc",
    ]  # fmt: skip

    async def main() -> None:
        async with serving(echo) as served:
            good = await served.connect()
            for n in range(rounds):
                data = mutated(rng, b"".join(rng.choices(seeds, k=rng.randrange(1, 5))))
                client = await served.connect()
                cut = rng.randrange(len(data) + 1)
                await client.send(data[:cut])
                await asyncio.sleep(0)
                try:
                    await client.send(data[cut:])
                    client.half_close()
                    got = await client.to_end()
                except OSError:
                    got = client.got  # it was refused, and closed, before it had said all
                client.sock.close()
                served.clients.remove(client)
                for reply in parse(got):
                    assert reply.status in (100, 200, 400, 431, 501, 505), (data, reply)
                if n % 10 == 0:
                    await good.send(post(b"still there"))
                    await good.until(b"POST /? still there", n // 10 + 1)
            assert not served.task.done()

    run_on(kind, main)


def test_random_bytes_end_no_server_and_no_other_connection() -> None:
    fuzz("uvloop", 1500)


def test_random_bytes_on_asyncios_own_loop() -> None:
    fuzz("asyncio", 300)
