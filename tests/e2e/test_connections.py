"""Clients that go away, read slowly, or sit idle."""

import asyncio
import contextlib
import resource
import socket
import time

import msgspec
import pytest

from rigs.gateway import POLICY, GatewayRig, fake
from trimtab.testing import FakeServer, Pace, Scripted
from trimtab.types import Deadlines, Snapshot

SLOW = POLICY.__class__(deadlines=Deadlines(first_byte_s=60, idle_s=60, total_s=120))


def request(model: str = "openai/m", *, stream: bool = False) -> bytes:
    body = msgspec.json.encode(
        {"model": model, "stream": stream, "messages": [{"role": "user", "content": "x"}]}
    )
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def snapshot(server: FakeServer, policy=SLOW) -> Snapshot:
    return Snapshot(generation=1, policy=policy, providers=(fake("openai", server.base_url),))


@pytest.mark.parametrize(
    ("moment", "stream"), [("before_head", False), ("before_head", True), ("mid_stream", True)]
)
def test_a_client_that_goes_away_closes_the_upstream_socket_within_100_ms(
    stream: bool, moment: str, tmp_path
) -> None:
    pace = Pace(before_head_s=20) if moment == "before_head" else Pace(between_s=0.02)
    text = [f"word{n} " for n in range(2000)]
    with FakeServer(script=Scripted(text=text, pace=pace)) as server:
        with GatewayRig(tmp_path, snapshot(server)) as gateway:
            client = socket.create_connection(("127.0.0.1", gateway.port))
            client.sendall(request(stream=stream))
            assert server.wait_for(lambda s: s.requests)
            if moment == "mid_stream":
                assert client.recv(100)
            time.sleep(0.2)  # not a guess: the call must be under way, at no particular moment
            left = time.monotonic()
            client.close()
            assert server.wait_for(lambda s: s.requests[0].closed_by_peer_at is not None, 3)
            took = server.requests[0].closed_by_peer_at - left
            [(_, closed)] = gateway.calls(1)
    assert took < 0.1, f"{took * 1000:.0f} ms"
    assert closed.state == "cancelled"
    assert closed.error_code == "client_cancelled"
    assert closed.usage.estimated
    assert closed.usage.input_tokens > 0
    assert (closed.usage.output_tokens > 0) == (moment == "mid_stream")


def test_slow_readers_end_as_cancelled_when_they_leave(tmp_path) -> None:
    text = ["x" * 1000] * 1500
    with FakeServer(script=Scripted(text=text)) as server:
        with GatewayRig(tmp_path, snapshot(server)) as gateway:
            clients = []
            for _ in range(10):
                client = socket.socket()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", gateway.port))
                client.sendall(request(stream=True))
                clients.append(client)
            for client in clients:
                assert client.recv(50)
                client.close()
            rows = gateway.calls(10, timeout_s=20)
    # Some were wholly in the kernel's buffers by then: those are answered, as far as anybody can tell.
    assert {closed.state for _, closed in rows} <= {"ok", "cancelled"}


def test_many_idle_connections_do_not_delay_a_new_request(tmp_path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with FakeServer() as server, GatewayRig(tmp_path, snapshot(server)) as gateway:
        count = min(400, soft // 4)
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            took = []
            for _ in range(5):
                began = time.monotonic()
                with socket.create_connection(("127.0.0.1", gateway.port)) as client:
                    client.sendall(request())
                    assert b"200 OK" in client.recv(65536)
                took.append(time.monotonic() - began)
    assert hard >= soft
    assert min(took) < 0.1, took


def test_an_upstream_connection_is_used_again_after_whole_replies_and_streams(tmp_path) -> None:
    with FakeServer() as server:
        with GatewayRig(tmp_path, snapshot(server)) as gateway:
            pool = gateway.core.state.providers["openai"]._client
            for n in range(10):
                with socket.create_connection(("127.0.0.1", gateway.port)) as client:
                    client.sendall(request(stream=n % 2 == 0))
                    data = b""
                    while b"[DONE]" not in data and b'"usage"' not in data:
                        data += client.recv(65536)
                until = time.monotonic() + 2  # a stream's framing may end a moment after its content
                while pool.idle < 1:
                    assert time.monotonic() < until, "the connection did not come back"
                    time.sleep(0.005)
        assert server.connections == 1


def test_cancelling_in_process_closes_the_upstream_socket(tmp_path) -> None:
    """The transport alone: a task cancelled while it waits for the head closes its socket (pools never leak one)."""
    from trimtab.providers.transport import Client, ClientOptions

    with FakeServer(script=Scripted(text="x", pace=Pace(before_head_s=20))) as server:

        async def run() -> float:
            client = Client(ClientOptions(base_url=server.base_url))

            async def ask() -> None:
                async with client.request("POST", "/chat/completions", request().partition(b"\r\n\r\n")[2]):
                    raise AssertionError("there is no head")

            async with asyncio.TaskGroup() as group:
                task = group.create_task(ask())
                while not server.requests:
                    await asyncio.sleep(0.005)
                task.cancel()
                left = time.monotonic()
            await client.aclose()
            return left

        left = asyncio.run(run())
        assert server.wait_for(lambda s: s.requests[0].closed_by_peer_at is not None, 3)
        assert server.requests[0].closed_by_peer_at - left < 0.1
