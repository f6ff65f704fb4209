"""The SDK's transport without HTTP: a program that makes calls through the pipeline itself."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trimtab.config import Config, find_file, load_config
from trimtab.sdk import ApiError, CallTimedOut, GatewayLost, HttpReply, HttpRequest, Transport
from trimtab.types import FolderBusy, Snapshot, SystemClock

from .folder import FolderLock, Layout
from .local import feeding

if TYPE_CHECKING:
    from trimtab.gateway import Gateway
    from trimtab.ledger import LogWriter
    from trimtab.limits import Limiter

_RECORD_S = 4.0
"""What storing the log may take at the end; what is left is stored by whoever comes next."""

_HEADERS = [
    (b"host", b"localhost"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"trimtab-in-process"),
]


def in_process(
    config: str | Path | None = None, *, data: str | Path | None = None, api_key: str = ""
) -> Transport:
    """Return a transport that makes calls in this process: `Client(transport=in_process())`.

    Nothing is read or opened before the first call. Then: where Trimtab runs on the data folder, what it has
    published holds; else the configuration file and the environment. Records go to a log segment of this process's
    own. At the end, where nothing runs on the folder, they are stored; else the running recorder stores them.

    Args:
        config: the configuration file; found as by `trimtab up` where omitted.
        data: the data folder, in place of the configured one.
        api_key: a key of the Trimtab that runs here, whose project the calls belong to; without one, to `default`.
    """
    return InProcess(None if config is None else Path(config), None if data is None else Path(data), api_key)


class InProcess:
    """Carries requests to a gateway in this process; see `in_process`. Used on one event loop at a time."""

    def __init__(self, config: Path | None, data: Path | None, api_key: str) -> None:
        self._config = config
        self._data = data
        self._headers = [*_HEADERS, *([(b"authorization", f"Bearer {api_key}".encode())] if api_key else [])]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gateway: Gateway | None = None
        self._writer: LogWriter | None = None
        self._limiter: Limiter | None = None
        self._layout: Layout | None = None

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[HttpReply]:
        """Make a request; see `Transport.open`.

        Raises:
            ConfigError: the configuration cannot be used.
            StorageError: the data folder cannot be.
        """
        loop = asyncio.get_running_loop()
        if self._gateway is None or self._loop is not loop:
            self._open()
            self._loop = loop
        assert self._gateway is not None, "it was opened just now"
        reply = _Reply(loop.time() + request.timeout_s)
        headers = [*self._headers, (b"content-length", b"%d" % len(request.body))]
        if request.trace_parent:
            headers.append((b"traceparent", request.trace_parent.encode()))
        scope = {"type": "http", "method": request.method, "path": f"/v1{request.path}", "headers": headers}
        # Cancelled and awaited below: it cannot be lost.
        task = loop.create_task(self._gateway(scope, reply.receive(request.body), reply.send))
        task.add_done_callback(reply.over)
        try:
            await reply.head()
            yield reply
        finally:
            # A call whose end is out is recorded by then, and has nothing to lose.
            task.cancel()
            await asyncio.wait((task,))

    async def aclose(self) -> None:
        """Close providers and log, and store what it holds where nobody else does."""
        gateway, writer, layout = self._gateway, self._writer, self._layout
        limiter, self._limiter = self._limiter, None
        self._gateway = self._writer = None
        if gateway is not None and self._loop is asyncio.get_running_loop():
            await gateway.aclose()
        if limiter is not None:
            limiter.close()
        if writer is not None and layout is not None:
            writer.close()
            try:
                storing = asyncio.get_running_loop().run_in_executor(None, _store, layout)
            except RuntimeError:  # the program ends: there are no threads any more, nor others on this loop
                _store(layout)
            else:
                await storing

    def _open(self) -> None:
        from trimtab.gateway import Gateway
        from trimtab.ledger import LogWriter, payload_policies
        from trimtab.pipeline import Core, Shared

        config = load_config(find_file(self._config), env=os.environ, data_dir=self._data)
        self._layout = layout = Layout(config.data_dir.absolute())
        layout.make()
        snapshot = _snapshot(config, layout)
        if self._writer is None:
            self._writer = LogWriter(layout.log, f"sdk-{os.getpid()}", durability=config.data.durability)
        if self._limiter is None:
            self._limiter = _limiter(layout, snapshot)
        core = Core(
            log=self._writer,
            counts=NoCounts(),
            keep=payload_policies(),
            clock=SystemClock(),
            run_dir=layout.run,
            shared=Shared(limiter=self._limiter),
        )
        core.apply(snapshot)
        self._gateway = Gateway(core, bound_to_loopback=True)


class NoCounts:
    """Counters of a process that nobody asks for metrics."""

    def add_named(self, name: str, n: int = 1) -> None:
        """See `pipeline.Counts`."""

    def add_finished(self, outcome: str, usage: tuple[int, int, int], ms: float) -> None:
        """See `pipeline.Counts`."""


def _snapshot(config: Config, layout: Layout) -> Snapshot:
    """Return what is to be obeyed: what was published where Trimtab runs, else what is declared."""
    from trimtab.storage.files import open_snapshot_store

    from .publish import declared
    from .runfile import find_running

    snapshots = open_snapshot_store(layout.snapshot)
    if find_running(layout.root) is not None and snapshots.generation():
        snapshot = snapshots.load()
    else:
        snapshot = msgspec.structs.replace(declared(config), generation=1)
    # Whoever can read the folder needs no key: access is the file system's here.
    return msgspec.structs.replace(
        snapshot, policy=msgspec.structs.replace(snapshot.policy, open_access=True)
    )


def _limiter(layout: Layout, snapshot: Snapshot) -> "Limiter | None":
    """Return what keeps limits and budgets here; None where there are none.

    Where Trimtab runs on the folder, it has counted what is spent; else it is counted now.
    """
    if not snapshot.limits and not snapshot.budgets:
        return None
    from trimtab.limits import MappedLimiter
    from trimtab.storage.sqlite import open_call_store

    from .data.spending import rule_book, seed_budgets

    limiter = MappedLimiter(layout.limits)
    rules = limiter.unseeded(rule_book(snapshot).budgets)
    if rules:
        _store(layout)
        calls = open_call_store(layout.calls, read_only=True)
        try:
            seed_budgets(limiter, rules, calls)
        finally:
            calls.close()
    return limiter


def _store(layout: Layout) -> None:
    """Store what the log holds, unless another process has the folder and does so."""
    from trimtab.ledger import Recorder
    from trimtab.storage.sqlite import open_call_store

    from .data import beside_log_and_store

    with FolderLock(layout) as lock:
        try:
            lock.acquire(ending_s=0.0)
        except FolderBusy:
            return
        store = open_call_store(layout.calls)
        try:
            beside = beside_log_and_store(layout)
            with (
                feeding(layout) as stored,
                Recorder(layout.log, store, stored=stored, beside=beside) as recorder,
            ):
                recorder.drain(_RECORD_S)
        finally:
            store.close()


class _Reply:
    """A reply that the gateway is making (ASGI 3). One piece waits at most: a slow reader slows the provider."""

    def __init__(self, deadline: float) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self.complete = False
        self._deadline = deadline
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._begun = asyncio.Event()
        self._broken = False

    def receive(self, body: bytes) -> Any:  # noqa: ANN401 - ASGI's callable
        """Return what the gateway reads the request from; nothing follows it."""
        left = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if left:
                return left.pop()
            await asyncio.Event().wait()  # leaving cancels the task: it needs no telling
            return {"type": "http.disconnect"}

        return receive

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message of the gateway's."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            pairs = message.get("headers", ())
            self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
            self._begun.set()
            return
        if body := message.get("body", b""):
            await self._pieces.put(body)
        if not message.get("more_body"):
            self.complete = True
            await self._pieces.put(None)

    def over(self, task: "asyncio.Task[None]") -> None:
        """Note that the gateway will say nothing more."""
        self._broken = not self.complete
        self._begun.set()
        if self._broken and self._pieces.empty():
            self._pieces.put_nowait(None)

    async def head(self) -> None:
        """Wait for status and headers.

        Raises:
            ApiError: there are none.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._begun.wait()
        except TimeoutError:
            raise CallTimedOut("no answer in time; pass a longer `timeout_s`") from None
        if not self.status:
            raise ApiError("an internal error ended the call", code="internal_error")

    async def read(self) -> bytes:
        """See `HttpReply.read`."""
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `HttpReply.chunks`."""
        call_id = self.headers.get("x-trimtab-call-id", "")
        while True:
            if self._broken and self._pieces.empty():
                raise GatewayLost("the call broke off in the middle of the answer", call_id=call_id)
            try:
                async with asyncio.timeout_at(self._deadline):
                    piece = await self._pieces.get()
            except TimeoutError:
                raise CallTimedOut(
                    "the answer was not complete in time; pass a longer `timeout_s`", call_id=call_id
                ) from None
            if piece is None:
                if self.complete:
                    return
                continue
            yield piece
