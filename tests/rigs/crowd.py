"""Many connections at once: slow readers, idle ones, and clients that go away."""

import contextlib
import resource
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trimtab.testing import FakeServer, Pace, Scripted

from .caller import DONE, Question
from .firehose import Firehose
from .house import House, until

ADDRESSES = 4
"""Source addresses of idle connections: the ports of one alone may be taken by the load of others."""


def rss_mb(pid: int) -> float:
    """A process's resident memory, in MB of 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(f"process {pid} has no VmRSS")


def ask(port: int, question: Question, timeout_s: float = 30.0) -> socket.socket:
    """Open a connection and send a request on it."""
    client = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    client.sendall(question.http())
    return client


def answer_of(client: socket.socket, end: bytes) -> bytes:
    """Read until `end` has come."""
    data = b""
    while end not in data:
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return data


@dataclass
class SlowReaders:
    """What slow readers cost."""

    before_mb: float
    samples_mb: list[float] = field(default_factory=list)
    read_bytes: int = 0
    ahead_bytes: int = 0
    """How far the provider was read ahead of the clients."""

    @property
    def grown_mb(self) -> float:
        return max(self.samples_mb) - self.before_mb


def slow_readers(home: Path, count: int, seconds: float, *, rate: int = 1024) -> SlowReaders:
    """Let clients read endless streams at `rate` bytes a second each; watch the one worker's memory."""
    with Firehose() as provider, House(home, provider.base_url) as house:
        worker = house.ready_pid("worker-1")
        for n in range(20):  # what a first call loads is no reader's cost
            with ask(house.port, Question(f"warm {n}", stream=True)) as client:
                assert client.recv(4096)
        found = SlowReaders(rss_mb(worker))
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(ask(house.port, Question(f"slow {n}", stream=True))) for n in range(count)
            ]
            sent = provider.sent
            began = time.monotonic()
            while (passed := time.monotonic() - began) < seconds:
                for client in clients:
                    found.read_bytes += len(client.recv(rate // 2))
                found.samples_mb.append(rss_mb(worker))
                time.sleep(max(0.0, 0.5 - (time.monotonic() - began - passed)))
            found.ahead_bytes = provider.sent - sent - found.read_bytes
    return found


@dataclass(frozen=True)
class Idle:
    """New requests beside idle connections; times in ms, one entry a request."""

    alone: list[float]
    beside: list[float]
    connections: int

    def delay_ms(self) -> float:
        """By how much the idle ones raised the 99th percentile."""
        return p99(self.beside) - p99(self.alone)


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def idle_connections(home: Path, count: int, requests: int = 100) -> Idle:
    """Time new requests on fresh connections, alone and beside `count` idle ones."""
    with FakeServer() as provider, House(home, provider.base_url) as house:
        for n in range(10):
            timed(house.port, n)
        alone = [timed(house.port, n) for n in range(requests)]
        with idle(house.port, count):
            beside = [timed(house.port, n) for n in range(requests)]
    return Idle(alone, beside, count)


def timed(port: int, number: int) -> float:
    """Milliseconds of one call on a fresh connection."""
    began = time.perf_counter()
    with ask(port, Question(f"quick {number}")) as client:
        answer_of(client, b'"usage"')
    return (time.perf_counter() - began) * 1e3


@contextmanager
def idle(port: int, count: int) -> Iterator[None]:
    """Hold connections open, half of them after a first request; all are accepted when the block begins."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + 1000)), hard))
    try:
        with contextlib.ExitStack() as stack:
            for n in range(count):
                source = (f"127.0.0.{1 + n % ADDRESSES}", 0)
                client = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=source)
                stack.enter_context(client)
                if n % 2 or n >= count - 1:
                    client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                    assert b"200 OK" in client.recv(4096)
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_files_allow(count: int) -> str:
    """Return why so many connections cannot be held here; empty where they can."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return (
        "" if hard >= count + 1000 else f"the hard limit of open files is {hard}; {count + 1000} are needed"
    )


MOMENTS: dict[str, tuple[bool, Pace]] = {
    "before the head": (False, Pace(before_head_s=20)),
    "before a stream's head": (True, Pace(before_head_s=20)),
    "mid-stream": (True, Pace(between_s=0.01)),
}
"""When a client leaves: (whether it asked for a stream, how the provider answers)."""


def cancelled(home: Path, trials: int, pause: Callable[[], float]) -> dict[str, list[float]]:
    """Let clients go away; return ms from each one's leaving to the provider seeing its socket closed, by moment.

    Args:
        home: a folder for the house.
        trials: at each moment.
        pause: seconds for a call to be under way before its client leaves.
    """
    found: dict[str, list[float]] = {moment: [] for moment in MOMENTS}
    for moment, (stream, pace) in MOMENTS.items():
        script = Scripted(text=[f"word{n} " for n in range(3000)], pace=pace)
        folder = home / moment.replace(" ", "-")
        with FakeServer(script=script) as provider, House(folder, provider.base_url) as house:
            for n in range(trials):
                found[moment].append(leave(provider, house.port, n, stream=stream, pause_s=pause()))
    return found


def leave(provider: FakeServer, port: int, number: int, *, stream: bool, pause_s: float) -> float:
    """Make one call and go away from it; return the ms until the provider's socket was closed."""
    client = ask(port, Question(f"leave {number}", stream=stream))
    try:
        assert provider.wait_for(lambda s: len(s.requests) > number), "the provider was never asked"
        if provider.requests[number].first_byte_at is not None:
            assert DONE not in client.recv(100)
        time.sleep(pause_s)
    finally:
        left = time.monotonic()
        client.close()
    seen = provider.requests[number]
    closed_at = until(lambda: seen.closed_by_peer_at, "the provider's socket is closed", 10)
    return (closed_at - left) * 1e3
