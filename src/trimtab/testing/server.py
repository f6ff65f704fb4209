"""A fake provider on a real loopback socket, with control over every byte."""

import asyncio
import socket
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
from .reply import Ask, Scripted
from .script import Answer, Script, as_script
from .wire import encode
from .wire.connection import MAX_HEAD_BYTES, Connection, Incoming, Turn
from .wire.plan import Scale, Step, WireReply

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
        self._live: set[Connection] = set()
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._socket: socket.socket | None = None

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
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self.port))
        except OSError:
            listener.close()
            raise
        self._socket = listener
        self.port = listener.getsockname()[1]
        if self._fault and self._fault.door == "refusing":
            return self  # bound, but not listening: the port refuses, and nobody else can take it
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener, ready), name="fake-server", daemon=True
        )
        self._thread.start()
        if not ready.wait(_START_S):
            raise RuntimeError(f"the fake server did not start within {_START_S:g} s")
        return self

    def stop(self) -> None:
        """Drop all connections and release the port. Idempotent."""
        if self._thread is not None and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
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

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        asyncio.run(self._main(listener, ready))

    async def _main(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(
            self._accept, sock=listener, ssl=self._tls_context(), limit=MAX_HEAD_BYTES, backlog=1024
        )
        ready.set()
        await self._stop.wait()
        server.close()
        for connection in tuple(self._live):
            connection.abort()
        while self._live:
            await asyncio.sleep(0.001)

    def _tls_context(self) -> Any:  # noqa: ANN401
        """Return the context to serve with, and fill in `ca_file`; None for plain HTTP."""
        from .wire.tls import make_certificates, server_context

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
        with self._changed:
            self.connections += 1
            self._live.add(connection)
            self._changed.notify_all()
        try:
            await connection.serve()
        finally:
            with self._changed:
                self._live.discard(connection)
                self._changed.notify_all()

    def _answer(self, request: Incoming) -> Turn:
        """Note a request and decide what is sent."""
        seen = Seen(request.method, request.path, request.headers, request.body, time.monotonic())
        steps = self._steps(request, seen)
        with self._changed:
            self.requests.append(seen)
            self._playing += 1
            self._changed.notify_all()

        def began() -> None:
            seen.first_byte_at = time.monotonic()

        def ended(finished_at: float | None, left_at: float | None) -> None:
            with self._changed:
                self._playing -= 1
                seen.finished_at, seen.closed_by_peer_at = finished_at, left_at
                self._changed.notify_all()

        return Turn(steps, began, ended)

    def _steps(self, request: Incoming, seen: Seen) -> list[Step]:
        number = len(self.requests)
        if self.api_key and request.header("authorization") != f"Bearer {self.api_key}":
            return _refusal(number, 401)
        match request.method, request.path.partition("?")[0]:
            case "GET", "/v1/models":
                return _reply(number, encode.models_json(self.models)).steps()
            case "POST", "/v1/chat/completions":
                kind = "chat"
            case "POST", "/v1/embeddings":
                kind = "embeddings"
            case _, "/v1/models" | "/v1/chat/completions" | "/v1/embeddings":
                return _refusal(number, 405)
            case _:
                return _refusal(number, 404, f"Invalid URL ({request.method} {request.path})")
        try:
            body = msgspec.json.decode(request.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            return _refusal(number, 400, f"We could not parse the JSON body of your request: {e}")
        ask = Ask(
            kind="chat" if kind == "chat" else "embeddings", body=body, number=number, headers=request.headers
        )
        reply = self._script.next(ask)
        fault = self._fault_of(reply)
        seen.fault = fault.name if fault else ""
        return _scripted(ask, reply, fault, self.scale)

    def _fault_of(self, reply: Scripted) -> Fault | None:
        """Return the fault that strikes this reply: its own, else the server's while that lasts."""
        if reply.fault:
            return find_fault(reply.fault)
        if self._fault is None or (self._fault.times and self._struck >= self._fault.times):
            return None
        self._struck += 1
        return self._fault


def _scripted(ask: Ask, reply: Scripted, fault: Fault | None, scale: Scale) -> list[Step]:
    """Return the steps that send a scripted reply, struck by a fault if there is one."""
    if fault and fault.change:
        reply = fault.change(reply, scale)
    healthy = wire_reply(ask, reply)
    if fault and fault.strike and healthy.status == 200:
        return fault.strike(healthy, scale)
    return healthy.steps()


def wire_reply(ask: Ask, reply: Scripted) -> WireReply:
    """Return a scripted reply as HTTP."""
    headers = tuple(reply.headers.items())
    if reply.status >= 300:
        body = encode.error_json(reply.status, reply.error) if reply.body is None else reply.body
        return msgspec.structs.replace(
            _reply(ask.number, body, *headers), status=reply.status, pace=reply.pace
        )
    if not ask.stream or ask.kind == "embeddings":
        body = encode.completion(ask, reply).body
        return msgspec.structs.replace(
            _reply(ask.number, body, *headers), status=reply.status, pace=reply.pace
        )
    frames = encode.stream_frames(ask, reply, include_usage=ask.include_usage)
    parts = tuple(frame.raw for frame in frames) if reply.body is None else (reply.body,)
    return WireReply(
        status=reply.status,
        headers=(*_common(ask.number, "text/event-stream; charset=utf-8"), *headers),
        parts=parts,
        first_content=encode.first_content(frames) if reply.body is None else 0,
        stream=True,
        pace=reply.pace,
    )


def _common(number: int, content_type: str) -> tuple[tuple[str, str], ...]:
    return (("content-type", content_type), ("x-request-id", f"req_fake_{number}"))


def _reply(number: int, body: bytes, *headers: tuple[str, str]) -> WireReply:
    return WireReply(headers=(*_common(number, "application/json"), *headers), parts=(body,))


def _refusal(number: int, status: int, message: str | None = None) -> list[Step]:
    reply = _reply(number, encode.error_json(status, message))
    return msgspec.structs.replace(reply, status=status).steps()
