"""A gateway on a real socket, in a thread of this process, writing a real append log."""

import asyncio
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from trimtab.gateway import Gateway
from trimtab.ledger import Counters, LogWriter, payload_policies
from trimtab.ledger.reader import LogReader
from trimtab.limits import MappedLimiter, period_of
from trimtab.pipeline import Core, Shared
from trimtab.serve.child.server import serve
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

from .threads import Serving

QUICK = Deadlines(connect_s=0.3, first_byte_s=0.5, idle_s=0.5, total_s=8.0)
RETRY = RetryPolicy(attempts=2, backoff_s=0.02, backoff_max_s=0.05, retry_after_max_s=0.2)
POLICY = Policy(deadlines=QUICK, retry=RETRY, max_reply_bytes=4 * 1024 * 1024)


def fake(name: str, base_url: str, **more: object) -> ProviderSpec:
    """Describe a provider of the OpenAI dialect."""
    return ProviderSpec(name=name, base_url=base_url, api_key="sk-upstream", **more)


@dataclass
class GatewayRig(Serving):
    """Serves a snapshot until the block ends; `records()` reads the log back."""

    thread = "gateway"

    folder: Path
    snapshot: Snapshot
    core: Core | None = field(default=None, init=False)
    port: int = field(default=0, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _serve(self) -> None:
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

        asyncio.get_running_loop().call_later(0.05, self._ready.set)
        await serve(gateway, listener.detach(), Settings(), self._stop)
        await gateway.aclose()
        log.close()
        counters.close()
        cache.close()
        limiter.close()

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
