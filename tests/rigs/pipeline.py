"""A pipeline without processes: a real `Core`, with a log and counters that a test can look into."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from trimtab.access import Caller
from trimtab.ledger import payload_policies
from trimtab.pipeline import Ask, Core, ReplyCache, Shared, State
from trimtab.testing import FakeProvider, FrozenClock
from trimtab.types import (
    Closed,
    Completion,
    Deadlines,
    Frame,
    Opened,
    Policy,
    Provider,
    ProviderSpec,
    Record,
    ReplyHead,
    Request,
    RetryPolicy,
    Snapshot,
    Usage,
)
from trimtab.types.errors import LedgerUnavailable

QUICK = Policy(
    retry=RetryPolicy(attempts=2, backoff_s=0.01, backoff_max_s=0.02, retry_after_max_s=0.2),
    deadlines=Deadlines(connect_s=1, first_byte_s=1, idle_s=1, total_s=5),
)
HEAD = ReplyHead(request_id="req-1")
USAGE = Usage(3, 2)


class MemoryLog:
    """The log port, in memory. `broken` refuses every record, as a full disk does."""

    def __init__(self, *, waits: bool = False) -> None:
        self.records: list[Record] = []
        self.broken: Callable[[Record], bool] = lambda record: False
        self.waits = waits
        self.durable = 0

    def append(self, record: Record) -> None:
        if self.broken(record):
            raise LedgerUnavailable("the disk is full")
        self.records.append(record)

    async def append_durable(self, record: Record) -> None:
        await asyncio.sleep(0)
        self.append(record)
        self.durable += 1


class MemoryReplies(dict[bytes, tuple[bytes, int]]):
    """The port of kept replies, in memory and without a bound."""

    def get(self, key: bytes, now_us: int) -> bytes | None:  # type: ignore[override]
        value, expires_us = super().get(key, (None, 0))
        return value if expires_us > now_us else None

    def put(self, key: bytes, value: bytes, expires_us: int, began_us: int) -> None:
        self[key] = (value, expires_us)


class MemoryCounts:
    """The counters port, in memory."""

    def __init__(self) -> None:
        self.by_name: Counter[str] = Counter()
        self.finished: list[tuple[str, tuple[int, int, int], float]] = []

    def add_named(self, name: str, n: int = 1) -> None:
        self.by_name[name] += n

    def add_finished(self, outcome: str, usage: tuple[int, int, int], ms: float) -> None:
        self.finished.append((outcome, usage, ms))


@dataclass(kw_only=True, eq=False)
class Events:
    """A provider that plays frames or raises errors as it is told, one turn a request.

    A turn is a list of frames (exceptions among them are raised, numbers are pauses in seconds), a
    `Completion`, or an exception raised in the reply's place.
    """

    name: str = "p"
    turns: list[Any] = field(default_factory=list)
    head: ReplyHead = HEAD
    before_head_s: float = 0.0
    degraded_mode: bool = False
    received: Callable[[], int] | None = None
    asked: list[Request] = field(default_factory=list, init=False)
    open_now: int = field(default=0, init=False)
    model_names: list[str] | BaseException = field(default_factory=list)
    closed: bool = field(default=False, init=False)

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator["Turn"]:
        turn = self.turns[min(len(self.asked), len(self.turns) - 1)]
        # The pipeline uses one dictionary for all attempts: what was asked is copied.
        self.asked.append(msgspec.structs.replace(request, body=dict(request.body)))
        self.open_now += 1
        try:
            if self.before_head_s:
                await asyncio.sleep(self.before_head_s)
            if isinstance(turn, BaseException):
                raise turn.with_traceback(None)
            yield Turn(self, turn)
        finally:
            turn = None  # what is raised holds this frame: a cycle of the rig's own
            self.open_now -= 1

    async def models(self) -> list[str]:
        if isinstance(self.model_names, BaseException):
            raise self.model_names
        return self.model_names

    async def aclose(self) -> None:
        self.closed = True


class Turn:
    """One open reply of `Events`."""

    def __init__(self, provider: Events, turn: Any) -> None:
        self.head = provider.head
        self._turn = turn
        if provider.received is not None:
            self.received = provider.received

    async def completion(self) -> Completion:
        if isinstance(self._turn, list):
            for step in self._turn[:-1]:
                await asyncio.sleep(step)
            return self._turn[-1]
        return self._turn

    async def frames(self) -> AsyncIterator[Frame]:
        step: Any = None
        try:
            for step in self._turn:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, int | float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            step = self._turn = None  # as in `Events.open`


class DatesStandStill(FrozenClock):
    """Wall time is frozen; the event loop's deadlines are real, and so are the durations that records hold."""

    def monotonic(self) -> float:
        return time.monotonic() + super().monotonic()


class Desk:
    """A core over the given providers: `whole` and `stream` make a call and return what a client gets."""

    def __init__(
        self,
        *providers: Provider,
        policy: Policy = QUICK,
        waits: bool = False,
        cache: ReplyCache | None = None,
        specs: dict[str, dict[str, Any]] | None = None,
        **snapshot: Any,
    ) -> None:
        self.log = MemoryLog(waits=waits)
        self.counts = MemoryCounts()
        self.clock = DatesStandStill()
        self.providers = {provider.name: provider for provider in providers}
        rows = tuple(ProviderSpec(name=name, **(specs or {}).get(name, {})) for name in self.providers)
        self.snapshot = Snapshot(generation=1, policy=policy, providers=rows, **snapshot)
        self.core = Core(
            log=self.log,
            counts=self.counts,
            keep=payload_policies(),
            clock=self.clock,
            run_dir=Path(),
            shared=Shared() if cache is None else Shared(cache),
        )
        self.core.swap(State(self.snapshot, self.make))

    def make(self, spec: ProviderSpec) -> Provider:
        return self.providers[spec.name]

    def target(self, label: str) -> Any:
        return self.core.state._targets[label]

    async def whole(self, model: str = "p/m", **more: Any) -> bytes:
        async with self.core.call(ask(model, **more)) as call:
            return call.body

    async def stream(self, model: str = "p/m", **more: Any) -> bytes:
        async with self.core.call(ask(model, stream=True, **more)) as call:
            return b"".join([data async for data in call.chunks()])

    @property
    def opened(self) -> list[Opened]:
        return [record for record in self.log.records if isinstance(record, Opened)]

    @property
    def closed(self) -> Closed:
        [found] = [record for record in self.log.records if isinstance(record, Closed)]
        return found


def ask(model: str = "p/m", *, kind: str = "chat", about: dict[str, Any] | None = None, **body: Any) -> Ask:
    """Return a request; `about` are `Ask`'s own fields."""
    words = (
        {"messages": [{"role": "user", "content": "Hello there"}]} if kind == "chat" else {"input": "Hello"}
    )
    rest = {"caller": Caller(), **(about or {})}
    return Ask(kind=kind, body=msgspec.json.encode({"model": model, **words, **body}), **rest)


def done(text: str = "Paris", usage: Usage | None = USAGE, **more: Any) -> Completion:
    """Return a whole answer."""
    return Completion(body=b'{"text":"%b"}' % text.encode(), usage=usage, text="" if usage else text, **more)


def fakes(*names: str, **options: Any) -> list[FakeProvider]:
    return [FakeProvider(name=name, **options) for name in names]
