"""A gateway on a real socket, in a thread of this process, writing a real append log."""

import asyncio
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from trimtab.gateway import Gateway
from trimtab.ledger import Counters, LogWriter, payload_policies
from trimtab.ledger.reader import LogReader
from trimtab.limits import MappedLimiter, period_of
from trimtab.pipeline import Core, Shared
from trimtab.serve.child.server import run_async, serve
from trimtab.storage.sqlite import open_reply_cache
from trimtab.types import (
    Closed,
    Deadlines,
    FeedbackGiven,
    Opened,
    Policy,
    ProviderSpec,
    RetryPolicy,
    Snapshot,
    SystemClock,
)

QUICK = Deadlines(connect_s=0.3, first_byte_s=0.5, idle_s=0.5, total_s=8.0)
RETRY = RetryPolicy(attempts=2, backoff_s=0.02, backoff_max_s=0.05, retry_after_max_s=0.2)
POLICY = Policy(deadlines=QUICK, retry=RETRY, max_reply_bytes=4 * 1024 * 1024)


def fake(name: str, base_url: str, **more: object) -> ProviderSpec:
    """Describe a provider of the OpenAI dialect."""
    return ProviderSpec(name=name, base_url=base_url, api_key="sk-upstream", **more)


@dataclass
class GatewayRig:
    """Serves a snapshot until the block ends; `records()` reads the log back."""

    folder: Path
    snapshot: Snapshot
    core: Core | None = field(default=None, init=False)
    port: int = field(default=0, init=False)

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="gateway-rig")
        self._thread.start()
        assert self._ready.wait(20), "the gateway did not start"
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the gateway did not stop"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _run(self) -> None:
        try:
            run_async(self._main)
        except BaseException as error:
            self._error = error
            self._ready.set()

    async def _main(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for name in ("log", "counters", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        log = LogWriter(self.folder / "log", "worker-1")
        counters = Counters(self.folder / "counters", "worker-1")
        cache = open_reply_cache(self.folder / "cache.db", lambda: 4_000_000)
        limiter = MappedLimiter(self.folder / "limits", count=counters.add_named)
        self.core = core = Core(
            log=log,
            shared=Shared(cache=cache, limiter=limiter),
            counts=counters,
            keep=payload_policies(),
            clock=SystemClock(),
            run_dir=self.folder / "run",
        )
        core.apply(self.snapshot)
        if (gate := core.state.gate) is not None:
            for rule in gate.book.budgets:  # nothing is spent yet
                limiter.seed(rule, {}, *period_of(rule.period, limiter.now_us()))
        gateway = Gateway(core, bound_to_loopback=True, counters_folder=str(self.folder / "counters"))
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        self.port = listener.getsockname()[1]
        from trimtab.config import Gateway as Settings

        self._loop.call_later(0.05, self._ready.set)
        await serve(gateway, listener.detach(), Settings(), self._stop)
        await gateway.aclose()
        log.close()
        counters.close()
        cache.close()
        limiter.close()
        return 0

    def records(self) -> list[Opened | Closed | FeedbackGiven]:
        """Return all records of the log so far."""
        reader = LogReader(self.folder / "log")
        reader.refresh()
        try:
            records = []
            for segment in reader.segments.values():
                while True:
                    pieces = segment.read()
                    records.extend(framed.record for framed in pieces)
                    if segment.at_end and not pieces:
                        break
            return records
        finally:
            reader.close()

    def calls(self, expect: int, timeout_s: float = 5.0) -> list[tuple[Opened, Closed]]:
        """Return the calls that have ended, once there are `expect` of them."""
        until = time.monotonic() + timeout_s
        while True:
            records = self.records()
            closed = {r.id: r for r in records if isinstance(r, Closed)}
            rows = [(r, closed[r.id]) for r in records if isinstance(r, Opened) and r.id in closed]
            if len(rows) >= expect:
                assert len(rows) == expect, rows
                return rows
            assert time.monotonic() < until, f"{len(rows)} of {expect} calls ended"
            time.sleep(0.01)
