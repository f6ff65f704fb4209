"""A fake provider on a real loopback socket, with control over every byte."""

import asyncio
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from .fault import Fault
from .faults import find_fault
from .reply import Scripted
from .script import Answer, Script, as_script
from .wire import http
from .wire.connection import MAX_HEAD_BYTES, Connection, Incoming, Turn
from .wire.plan import Scale, Step, WireReply
from .wire.tls import make_certificates, server_context

_START_S = 10.0
"""Longest wait for the server's thread to listen."""


@dataclass(slots=True)
class Seen:
    """One request that the server saw, and what became of it. Times are `time.monotonic()` seconds."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    arrived_at: float
    fault: str = ""
    """Name of the fault that struck it."""
    first_byte_at: float | None = None
    finished_at: float | None = None
    """When the last byte of a complete reply was handed to the system."""
    closed_by_peer_at: float | None = None
    """When the peer closed or reset the connection before the reply was complete; None: it did not."""

    def json(self) -> Any:  # noqa: ANN401
        """Return the body, decoded."""
        return msgspec.json.decode(self.body)

    def header(self, name: str) -> str:
        """Return a header's first value, or an empty text."""
        return next((value for key, value in self.headers if key == name.lower()), "")


@dataclass(kw_only=True)
class FakeServer:
    """An OpenAI-compatible server on 127.0.0.1, on a thread of its own; a context manager, sync and async.

    Serves `/v1/chat/completions`, `/v1/embeddings` and `/v1/models`. With `api_key`, other keys get a 401.
    With `tls`, it makes its own certificate with the `openssl` command; `ca_file` is what clients must trust.
    """

    script: Script | Answer | Sequence[Answer] | None = None
    fault: Fault | str = ""
    """Strikes every request, or as many as its `times` says."""
    scale: Scale = field(default_factory=Scale)
    models: Sequence[str] = ("fake-1",)
    api_key: str = ""
    tls: bool = False
    port: int = 0
    """0: a free one; after the start, the one in use."""
    requests: list[Seen] = field(default_factory=list, init=False)
    connections: int = field(default=0, init=False)
    """How many connections were accepted."""
    ca_file: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._script = as_script(self.script)
        self._fault = find_fault(self.fault)
        self._struck = 0
        self._playing = 0
        self._live: dict[Connection, asyncio.Task[None]] = {}
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._socket: socket.socket | None = None
        self._fillers: list[socket.socket] = []

    @property
    def base_url(self) -> str:
        """The URL that clients take as `base_url`, with `/v1`."""
        door = self._fault.door if self._fault else "open"
        scheme = "https" if self.tls or door in ("plain_behind_tls", "untrusted_certificate") else "http"
        return f"{scheme}://127.0.0.1:{self.port}/v1"

    @property
    def in_flight(self) -> int:
        """How many replies are being sent, or stalled, right now."""
        return self._playing

    @property
    def open_connections(self) -> int:
        """How many connections are open right now."""
        return len(self._live)

    def start(self) -> Self:
        """Listen, and return once the port accepts connections.

        Raises:
            OSError: the port is in use.
            FileNotFoundError: TLS is wanted and there is no `openssl` command.
        """
        if self._socket is not None:
            raise RuntimeError("this fake server runs already; make another for a second port")
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        door = self._fault.door if self._fault else "open"
        if door != "refusing":  # with it, another process could bind a port where nobody listens
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self.port))
        except OSError:
            listener.close()
            raise
        self._socket = listener
        self.port = listener.getsockname()[1]
        if door == "refusing":
            return self  # bound, but not listening: the port refuses, and nobody else can take it
        if door == "full":
            self._fill(listener)
            return self
        context = self._tls_context()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener, context, ready), name=f"fake-server-{self.port}", daemon=True
        )
        self._thread.start()
        if not ready.wait(_START_S):
            raise RuntimeError(f"the fake server did not start within {_START_S:g} s")
        return self

    def _fill(self, listener: socket.socket) -> None:
        """Fill the queue of connections that nobody accepts: the system leaves further ones unanswered."""
        listener.listen(0)
        for _ in range(2):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def stop(self) -> None:
        """Drop all connections and release the port. Idempotent."""
        if self._thread is not None and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        if self._socket is not None:
            self._socket.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._thread = self._loop = self._stop = self._socket = self._folder = None

    def wait_for(self, met: Callable[["FakeServer"], object], timeout_s: float = 5.0) -> bool:
        """Block until the condition holds, looking again whenever something happened here.

        Returns:
            Whether it came to hold within `timeout_s` seconds. From async code, call it in a thread.
        """
        with self._changed:
            return bool(self._changed.wait_for(lambda: met(self), timeout_s))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _run(self, listener: socket.socket, context: ssl.SSLContext | None, ready: threading.Event) -> None:
        asyncio.run(self._main(listener, context, ready))

    async def _main(
        self, listener: socket.socket, context: ssl.SSLContext | None, ready: threading.Event
    ) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(
            self._accept, sock=listener, ssl=context, limit=MAX_HEAD_BYTES, backlog=1024
        )
        ready.set()
        await self._stop.wait()
        server.close()
        for connection in tuple(self._live):
            connection.abort()
        if self._live:
            await asyncio.wait(self._live.values())

    def _tls_context(self) -> ssl.SSLContext | None:
        """Return the context to serve with, and fill in `ca_file`; None for plain HTTP."""
        door = self._fault.door if self._fault else "open"
        if door != "untrusted_certificate" and not (self.tls and door == "open"):
            return None
        self._folder = tempfile.TemporaryDirectory(prefix="trimtab-fake-")
        trusted, served = Path(self._folder.name, "trusted"), Path(self._folder.name, "served")
        trusted.mkdir()
        self.ca_file = str(make_certificates(trusted))
        if door == "open":
            return server_context(trusted)
        served.mkdir()
        make_certificates(served)
        return server_context(served)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self._answer)
        task = asyncio.current_task()
        assert task is not None, "asyncio runs each connection in a task"
        with self._changed:
            self.connections += 1
            self._live[connection] = task
            self._changed.notify_all()
        try:
            await connection.serve()
        finally:
            with self._changed:
                del self._live[connection]
                self._changed.notify_all()

    def _answer(self, request: Incoming) -> Turn:
        """Note a request and decide what is sent."""
        seen = Seen(request.method, request.path, request.headers, request.body, time.monotonic())
        try:
            steps = self._steps(request, seen)
        except Exception as e:  # noqa: BLE001  (a test's script may raise anything; the client must learn of it)
            message = f"the fake's script raised {type(e).__name__}: {e}"
            steps = http.refusal(len(self.requests), 500, message).steps()
        with self._changed:
            self.requests.append(seen)
            self._playing += 1
            self._changed.notify_all()

        def began() -> None:
            with self._changed:
                seen.first_byte_at = time.monotonic()
                self._changed.notify_all()

        def ended(finished_at: float | None, left_at: float | None) -> None:
            with self._changed:
                self._playing -= 1
                seen.finished_at, seen.closed_by_peer_at = finished_at, left_at
                self._changed.notify_all()

        return Turn(steps, began, ended)

    def _steps(self, request: Incoming, seen: Seen) -> list[Step]:
        number = len(self.requests)
        if self.api_key and request.header("authorization") != f"Bearer {self.api_key}":
            return http.refusal(number, 401).steps()
        if request.method == "GET" and request.path == http.MODELS_PATH:
            return http.models_reply(number, self.models).steps()
        ask = http.read_ask(request, number)
        if isinstance(ask, WireReply):
            return ask.steps()
        reply = self._script.next(ask)
        fault = self._fault_of(reply)
        if fault is None:
            return http.scripted_reply(ask, reply).steps()
        seen.fault = fault.name
        changed = fault.change(reply, self.scale) if fault.change else reply
        healthy = http.scripted_reply(ask, changed)
        return (
            fault.strike(healthy, self.scale) if fault.strike and healthy.status == 200 else healthy.steps()
        )

    def _fault_of(self, reply: Scripted) -> Fault | None:
        """Return the fault that strikes this reply: its own, else the server's while that lasts."""
        if reply.fault:
            return find_fault(reply.fault)
        if self._fault is None or (self._fault.times and self._struck >= self._fault.times):
            return None
        self._struck += 1
        return self._fault
