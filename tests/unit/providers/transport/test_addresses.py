"""Server-side request forgery by a provider's address: tried in many spellings, and refused."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from rigs.raw_server import OK
from trimtab.providers.transport import Client, ClientOptions, address_problem
from trimtab.types.errors import AddressRefused, ConnectFailed

PRIVATE = [
    "10.0.0.1", "172.16.5.5", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12:3456::1", "::ffff:10.0.0.1",
    "::ffff:192.168.0.1", "64:ff9b::a00:1", "2002:a00:1::", "198.18.0.1", "192.0.2.1",
]  # fmt: skip
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"]
NEVER = [
    "169.254.169.254", "::ffff:169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254",
    "100.100.100.200", "192.0.0.192", "168.63.129.16", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "240.0.0.1",
    "255.255.255.255", "2002:a9fe:a9fe::", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE + LOOPBACK + NEVER)
@pytest.mark.parametrize("tls", [True, False])
def test_nothing_but_public_addresses_without_consent(address: str, tls: bool) -> None:
    assert address_problem(address, "public", tls=tls)


@pytest.mark.parametrize("address", NEVER)
def test_metadata_and_the_like_never_even_with_consent(address: str) -> None:
    assert address_problem(address, "private", tls=True)


@pytest.mark.parametrize("address", PRIVATE + LOOPBACK + PUBLIC)
def test_with_consent_private_addresses_over_tls(address: str) -> None:
    assert address_problem(address, "private", tls=True) == ""


@pytest.mark.parametrize("address", PRIVATE + PUBLIC)
def test_without_tls_only_loopback(address: str) -> None:
    assert "https" in address_problem(address, "private", tls=False)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_without_tls_with_consent(address: str) -> None:
    assert address_problem(address, "private", tls=False) == ""


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_free_over_tls(address: str) -> None:
    assert address_problem(address, "public", tls=True) == ""
    assert address_problem(address, "public", tls=False)


@pytest.mark.parametrize("address", PRIVATE + LOOPBACK + NEVER + PUBLIC)
def test_what_the_file_declares_goes_anywhere(address: str) -> None:
    assert address_problem(address, "any", tls=False) == ""


def ask(url: str, names: dict[str, list[str]], **options: object) -> tuple[object, list[str]]:
    """Ask `/models` under a resolver of our own; return the status or error, and the names that were looked up."""
    looked: list[str] = []

    async def main() -> object:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(host, port, **_more):
            looked.append(host)
            try:
                # What a real resolver makes of 2130706433, 0x7f.1 or 0177.1.
                found = names.get(host) or [socket.inet_ntoa(socket.inet_aton(host))]
            except OSError:
                raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
            return [
                (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
                for a in found
            ]

        loop.getaddrinfo = getaddrinfo
        client = Client(ClientOptions(base_url=url, connect_s=2.0, **options))
        try:
            async with client.request("GET", "/models") as exchange:
                return exchange.status
        except (AddressRefused, ConnectFailed) as error:
            return error
        finally:
            await client.aclose()

    return asyncio.run(main()), looked


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "10.1", "169.254.169.254", "[::1]",
     "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "localhost", "inside.example", "both.example"],
)  # fmt: skip
def test_no_spelling_of_an_address_and_no_name_leads_inside(host: str) -> None:
    names = {
        "localhost": ["127.0.0.1"],
        "inside.example": ["10.1.2.3"],
        "both.example": ["8.8.8.8", "127.0.0.1"],
        "::1": ["::1"],
        "::ffff:127.0.0.1": ["::ffff:127.0.0.1"],
        "::ffff:a9fe:a9fe": ["::ffff:a9fe:a9fe"],
    }
    error, _ = ask(f"https://{host}/v1", names, reach="public")
    assert isinstance(error, AddressRefused)
    assert not error.retryable


@contextmanager
def answering(reply: bytes) -> Iterator[tuple[str, int]]:
    """A server on another thread: one connection, one answer."""

    def serve() -> None:
        with suppress(OSError):
            link, _ = listener.accept()
            with link:
                link.recv(65536)
                link.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_name_is_judged_by_what_is_dialled_not_by_what_it_once_was() -> None:
    """DNS rebinding: one look-up, and exactly what was judged is dialled."""
    names = {"rebound.example": ["127.0.0.1"]}
    with answering(OK) as (_, port):
        status, looked = ask(f"http://rebound.example:{port}/v1", names, reach="private")
        assert status == 200
        # A literal address is asked of no resolver: nobody can answer differently the second time.
        assert looked == ["rebound.example"]
    error, _ = ask(f"https://rebound.example:{port}/v1", names, reach="public")
    assert isinstance(error, AddressRefused)


def test_what_does_not_resolve_cannot_be_reached() -> None:
    error, _ = ask("https://nowhere.example/v1", {}, reach="public")
    assert isinstance(error, ConnectFailed)


def test_a_proxy_cannot_be_screened_and_is_refused() -> None:
    error, looked = ask("https://api.example/v1", {}, reach="public", proxy="http://127.0.0.1:9")
    assert isinstance(error, AddressRefused)
    assert looked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_not_an_order(status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hidden:
        where = "http://{}:{}/latest/meta-data".format(*hidden.getsockname())
        reply = f"HTTP/1.1 {status} Go\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()
        with answering(reply) as (_, port):
            found, _ = ask(f"http://127.0.0.1:{port}/v1", {}, reach="private")
        assert found == status
        hidden.setblocking(False)
        with pytest.raises(BlockingIOError):
            hidden.accept()
