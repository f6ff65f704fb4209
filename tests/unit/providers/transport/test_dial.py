"""Opening connections: TLS with the authorities that are configured, proxies, deadlines."""

import asyncio
import base64
import socket

import pytest

from rigs.raw_server import OK, listening, raw_server
from trimtab.providers.transport import Client, ClientOptions
from trimtab.testing import FakeServer
from trimtab.types.errors import ConfigError, ConnectFailed, ConnectTimeout, TlsFailed


def run(main):
    async def limited():
        async with asyncio.timeout(20):
            return await main()

    return asyncio.run(limited())


async def models(**options) -> int:
    client = Client(ClientOptions(**options))
    try:
        async with client.request("GET", "/models") as exchange:
            await exchange.body()
            return exchange.status
    finally:
        await client.aclose()


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls_server():
    with FakeServer(tls=True) as server:
        yield server


def test_a_certificate_of_the_configured_authority_is_accepted(tls_server):
    assert run(lambda: models(base_url=tls_server.base_url, ca_file=tls_server.ca_file)) == 200


def test_a_certificate_of_no_known_authority_is_refused(tls_server):
    with pytest.raises(TlsFailed, match=r"(?i)certificate"):
        run(lambda: models(base_url=tls_server.base_url))


def test_a_certificate_for_another_name_is_refused(tls_server):
    url = tls_server.base_url.replace("127.0.0.1", "another.example")  # the proxy leads to the same server
    with pytest.raises(TlsFailed, match=r"(?i)certificate"):
        run(lambda: through(Proxy(), base_url=url, ca_file=tls_server.ca_file))


def test_tls_connections_are_used_again(tls_server):
    before = tls_server.connections

    async def main():
        client = Client(ClientOptions(base_url=tls_server.base_url, ca_file=tls_server.ca_file))
        for _ in range(3):
            async with client.request("GET", "/models") as exchange:
                await exchange.body()
        await client.aclose()

    run(main)
    assert tls_server.connections - before == 1


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_ca_file_that_holds_none_is_a_fault_of_the_configuration(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        Client(ClientOptions(base_url="https://127.0.0.1:1/v1", ca_file=str(path)))


def test_a_server_without_tls_fails_the_handshake():
    async def speak_plainly(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async def main():
        async with raw_server(OK, on_connect=speak_plainly) as server:
            await models(base_url=server.url.replace("http:", "https:"))

    with pytest.raises(TlsFailed):
        run(main)


def test_a_server_that_hangs_up_during_the_handshake_is_a_tls_fault():
    async def hang_up(reader, writer):
        await reader.read(10)
        writer.transport.abort()

    async def main():
        async with raw_server(OK, on_connect=hang_up) as server:
            await models(base_url=server.url.replace("http:", "https:"))

    with pytest.raises(TlsFailed):
        run(main)


# --- deadlines ----------------------------------------------------------------------------------------------


def test_a_handshake_that_never_ends_is_a_connect_timeout():
    async def stall(reader, writer):
        await asyncio.sleep(30)

    async def main():
        async with raw_server(OK, on_connect=stall) as server:
            await models(base_url=server.url.replace("http:", "https:"), connect_s=0.05)

    with pytest.raises(ConnectTimeout, match=r"0\.05 s"):
        run(main)


def test_a_name_that_does_not_resolve_is_a_failed_connection():
    with pytest.raises(ConnectFailed, match=r"nowhere\.invalid"):
        run(lambda: models(base_url="http://nowhere.invalid/v1"))


def test_an_exchange_may_have_a_connect_deadline_of_its_own():
    with FakeServer(fault="stall_connect") as server:

        async def main():
            client = Client(ClientOptions(base_url=server.base_url, connect_s=30))
            try:
                async with client.request("GET", "/models", connect_s=0.05):
                    raise AssertionError("nobody accepts")
            finally:
                await client.aclose()

        with pytest.raises(ConnectTimeout, match=r"0\.05 s"):
            run(main)


# --- proxies ------------------------------------------------------------------------------------------------


class Proxy:
    """An HTTP proxy that knows CONNECT only; `answer` replaces its yes."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.left = 0

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        writer.write(self.answer)
        if not self.answer.startswith(b"HTTP/1.1 200"):
            await reader.read()
            self.left += 1
            return
        port = int(head.split(b" ")[1].rsplit(b":", 1)[1])
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pump(reader, upstream_writer), pump(upstream_reader, writer))
        finally:
            upstream_writer.transport.abort()


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # one side is gone; the other learns of it next
    writer.close()


async def through(proxy: Proxy, auth: str = "", **options) -> int:
    async with listening(proxy.serve) as port:
        return await models(proxy=f"http://{auth}127.0.0.1:{port}", **options)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_targets_are_tunnelled_through_a_proxy_with_its_own_key(tls, tls_server):
    proxy = Proxy()
    with FakeServer() as plain:
        target = tls_server if tls else plain
        status = run(
            lambda: through(
                proxy, "us%40er:pa%3Ass@", base_url=target.base_url, ca_file=target.ca_file if tls else ""
            )
        )
    assert status == 200
    [head] = proxy.heads
    lines = head.split(b"\r\n")
    assert lines[0] == b"CONNECT 127.0.0.1:%d HTTP/1.1" % target.port
    assert b"Host: 127.0.0.1:%d" % target.port in lines
    secret = base64.b64encode(b"us@er:pa:ss")
    assert b"Proxy-Authorization: Basic " + secret in lines
    assert target.requests[-1].header("proxy-authorization") == ""


def test_a_proxy_without_a_key_is_sent_none():
    proxy = Proxy()
    with FakeServer() as server:
        assert run(lambda: through(proxy, base_url=server.base_url)) == 200
    assert b"Proxy-Authorization" not in proxy.heads[0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 502 Bad Gateway\r\nX: y\r\n\r\n", "502"),
        (b"nonsense\r\n\r\n", "no status"),
        (b"x" * 20_000, "no status"),
    ],
)
def test_a_proxy_that_refuses_is_a_failed_connection_and_is_let_go(answer, words):
    proxy = Proxy(answer)
    with FakeServer() as server, pytest.raises(ConnectFailed, match=words) as refused:
        run(lambda: through(proxy, "user:secret@", base_url=server.base_url))
    assert "secret" not in refused.value.message


def test_a_proxy_that_hangs_up_is_a_failed_connection():
    class HangsUp(Proxy):
        async def serve(self, reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

    with pytest.raises(ConnectFailed, match="proxy closed"):
        run(lambda: through(HangsUp(), base_url="http://127.0.0.1:9/v1"))


def test_a_proxy_that_does_not_answer_runs_into_the_connect_deadline():
    class Stalls(Proxy):
        async def serve(self, reader, writer):
            await reader.read()
            self.left += 1

    proxy = Stalls()

    async def main():
        async with listening(proxy.serve) as port:
            with pytest.raises(ConnectTimeout):
                await models(
                    base_url="http://127.0.0.1:9/v1", proxy=f"http://127.0.0.1:{port}", connect_s=0.1
                )
            while not proxy.left:
                await asyncio.sleep(0.005)

    run(main)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "127.0.0.1:9", "https://127.0.0.1:9"])
def test_a_proxy_of_another_kind_is_refused(proxy):
    with pytest.raises(ConnectFailed, match="must look like"):
        run(lambda: models(base_url="http://127.0.0.1:9/v1", proxy=proxy))


def test_a_proxy_where_nobody_listens_is_a_failed_connection():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConnectFailed):
            run(lambda: models(base_url="http://127.0.0.1:9/v1", proxy=url))
