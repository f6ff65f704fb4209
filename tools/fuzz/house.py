"""A gateway without HTTP in front of it, and a provider behind it that says exactly the bytes of a case."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Self

from trimtab.gateway import Gateway
from trimtab.ledger import payload_policies
from trimtab.pipeline import Core
from trimtab.types import Closed, Deadlines, Policy, ProviderSpec, RetryPolicy, Snapshot, SystemClock

ATTEMPTS = 3
MAX_BODY = 20_000
_POLICY = Policy(
    retry=RetryPolicy(attempts=ATTEMPTS, backoff_s=0.0001, backoff_max_s=0.0002),
    deadlines=Deadlines(connect_s=5, first_byte_s=5, idle_s=5, total_s=20),
    max_request_bytes=MAX_BODY,
)
_HOST = [(b"host", b"localhost"), (b"content-type", b"application/json")]


class Said(NamedTuple):
    """What a client saw of an answer."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    whole: bool


class Log:
    """The log port, in memory."""

    waits = False

    def __init__(self) -> None:
        self.records: list[Any] = []

    def append(self, record: Any) -> None:
        self.records.append(record)

    async def append_durable(self, record: Any) -> None:
        self.records.append(record)

    def closed(self) -> Closed | None:
        """Return how the last call ended."""
        return next((r for r in reversed(self.records) if isinstance(r, Closed)), None)


class Counts:
    """The counters port."""

    def __init__(self) -> None:
        self.named: Counter[str] = Counter()

    def add_named(self, name: str, n: int = 1) -> None:
        self.named[name] += n

    def add_finished(self, outcome: str, usage: tuple[int, int, int], ms: float) -> None:
        pass


class House:
    """Stands while it is open; each `ask` meets a gateway of its own, so that cases know nothing of each other."""

    def __init__(self) -> None:
        self.turns: list[bytes] = []
        """Answers in whole bytes, the last one again and again; the connection is closed behind each."""
        self.asked: list[bytes] = []
        self.log = Log()
        self.counts = Counts()

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._runner = self._stack.enter_context(asyncio.Runner())
        self._server = self._runner.run(self._serve())
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._stack.close()

    async def _serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._answer, "127.0.0.1", 0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.asked.append(await reader.readexactly(length))
            writer.write(self.turns[min(len(self.asked), len(self.turns)) - 1])
            await writer.drain()
        writer.close()

    def ask(self, pieces: list[bytes], turns: list[bytes], *, declared: bool = True) -> Said:
        """Send one chat request to a new gateway; return what its client saw."""
        self.turns, self.asked, self.log, self.counts = turns, [], Log(), Counts()
        return self._runner.run(asyncio.wait_for(self._ask(pieces, declared), 30))

    async def _ask(self, pieces: list[bytes], declared: bool) -> Said:
        port = self._server.sockets[0].getsockname()[1]
        core = Core(
            log=self.log,
            counts=self.counts,
            keep=payload_policies(),
            clock=SystemClock(),
            run_dir=self._folder,
        )
        spec = ProviderSpec(name="p", base_url=f"http://127.0.0.1:{port}/v1", api_key="k", models=("m",))
        core.apply(Snapshot(generation=1, policy=_POLICY, providers=(spec,)))
        gateway = Gateway(core, bound_to_loopback=True)
        waiting, sent = list(pieces) or [b""], []

        async def receive() -> dict[str, Any]:
            if not waiting:
                await asyncio.Event().wait()
            body = waiting.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(waiting)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = list(_HOST)
        if declared:
            headers.append((b"content-length", b"%d" % sum(map(len, pieces))))
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
        try:
            await gateway(scope, receive, send)
        finally:
            await gateway.aclose()
        body = b"".join(m.get("body", b"") for m in sent[1:])
        whole = len(sent) > 1 and not sent[-1].get("more_body")
        return Said(sent[0]["status"], dict(sent[0]["headers"]), body, whole)
