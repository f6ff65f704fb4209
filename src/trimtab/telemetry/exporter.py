"""The exporter: takes what the feed names out of the store, and hands it to each sink at the sink's own pace."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from trimtab.storage import write_atomically
from trimtab.types import Call, SpanEnded, TrimtabError

from .feed import FeedReader, ids_of
from .sink import Batch, Sink, SinkRefused, SinkUnavailable

_log = logging.getLogger("trimtab.telemetry")

_LOOK_S: Final = 0.25
"""How often to look for new entries: the status of one folder."""

_FORGET_S: Final = 10.0
"""How often to remove what all sinks have taken."""

_ODD_TRIES: Final = 10
"""Of a batch that a plugin fails on in a way of its own."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_ASKED_PAUSE_S = 600.0
"""The longest pause that another side may ask for."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is taken out at once."""

    rows: int = 512
    payload_bytes: int = 4_000_000


class Cursor(msgspec.Struct, kw_only=True):
    """How far a sink is; kept in `NAME.cursor`, replaced after each batch."""

    next: int = -1
    """Number of the next entry; -1: the sink has just been added, and begins with what comes from now on."""
    delivered: int = 0
    rejected: int = 0
    """Rows that the other side would not take."""
    dropped: int = 0
    """Entries that fell out of the backlog before they were sent."""
    gone: int = 0
    """Rows that were erased, or whose day was, before they were sent."""
    error: str = ""
    """Why the last try failed; empty where it did not."""


class Source(Protocol):
    """Where rows come from: a store, read from a thread."""

    def calls(self, ids: Sequence[str]) -> list[Call]:
        """Return those of the calls that are there, with payload, in order."""
        ...

    def spans(self, ids: Sequence[str]) -> list[SpanEnded]:
        """Return those of the spans (`trace_id-span_id`) that are there."""
        ...


class Exporter:
    """Runs one lane a sink."""

    def __init__(
        self,
        folder: Path,
        source: Source,
        sinks: Mapping[str, Sink],
        *,
        counters: Callable[[], Mapping[str, int]] = dict,
        limits: Limits | None = None,
    ) -> None:
        """Take what is to be run.

        Args:
            folder: the feed's; cursors stand in it too.
            source: where rows come from.
            sinks: by name.
            counters: the workers' sums, for `Sink.pulse`.
            limits: how much to take at once.
        """
        feed = FeedReader(folder)
        take = _Take(feed, source, limits or Limits())
        self._lanes = [Lane(folder / f"{name}.cursor", take, sink) for name, sink in sinks.items()]
        self._counters = counters
        self._feed = feed

    async def run(self, stop: asyncio.Event) -> None:
        """Export until told to stop; then what is there is sent once more, as far as the sinks take it at once."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for lane in self._lanes:
                    tasks.create_task(lane.run(stop, self._counters))
                while not stop.is_set():
                    await _wait(stop, _FORGET_S)
                    self.forget()
        finally:
            for lane in self._lanes:
                await lane.sink.aclose()

    def state(self) -> dict[str, Cursor]:
        """Return how far each sink is."""
        return {lane.name: lane.cursor for lane in self._lanes}

    def waiting(self) -> dict[str, int]:
        """Return how many entries each sink has yet to take."""
        _, end = self._feed.bounds()
        return {
            name: max(end - cursor.next, 0) if cursor.next >= 0 else 0
            for name, cursor in self.state().items()
        }

    def forget(self) -> None:
        """Drop what all sinks have taken."""
        self._feed.forget(min(lane.cursor.next for lane in self._lanes))


class Lane:
    """One sink, its cursor, and what it waits for."""

    def __init__(self, path: Path, take: "_Take", sink: Sink) -> None:
        self.name = path.stem
        self.sink = sink
        self._path = path
        self._take = take
        self._held: tuple[Batch, int] | None = None
        """A batch under way, and the number of the entry after it."""
        self._tries = 0
        self.cursor = read_cursor(path)

    async def run(self, stop: asyncio.Event, counters: Callable[[], Mapping[str, int]]) -> None:
        """Deliver until told to stop."""
        loop = asyncio.get_running_loop()
        pulse_at = loop.time() + self.sink.every_s
        while True:
            last = stop.is_set()
            pause = await self._step()
            if self.sink.every_s and (loop.time() >= pulse_at or (last and pause <= _LOOK_S)):
                await self._pulse(counters)
                pulse_at = loop.time() + self.sink.every_s
            if last and pause > 0:
                return
            await _wait(stop, pause)

    async def _step(self) -> float:
        """Deliver one batch; return the seconds until the next."""
        try:
            if self._held is None:
                self._held = await asyncio.to_thread(self._next)
            if self._held is None:
                return _LOOK_S
            batch, after = self._held
            if len(batch):
                sent = await self.sink.send(batch)
                self.cursor.delivered += len(batch) - sent.rejected
                self.cursor.rejected += sent.rejected
                if sent.rejected:
                    _log.warning("%s: %d rejected: %s", self.name, sent.rejected, sent.note)
            self._advance(after)
        except SinkRefused as error:
            self._give_up(str(error))
        except SinkUnavailable as error:
            return self._put_off(error)
        except (TrimtabError, OSError) as error:  # the store or the cursor; the disk may mend
            return self._put_off(SinkUnavailable(str(error)))
        except Exception as error:  # noqa: BLE001 - a plugin's sink may raise anything, and must not end the others
            _log.exception("%s: the sink failed", self.name)
            return self._put_off(SinkUnavailable(f"{type(error).__name__}: {error}", tries=_ODD_TRIES))
        return 0.0

    def _next(self) -> tuple[Batch, int] | None:
        """Return the next batch with the number of the entry after it; None where there is nothing new."""
        first, end = self._take.feed.bounds()
        cursor = self.cursor
        if cursor.next < 0 or cursor.next > end:  # new, or the feed was begun anew
            cursor.next = end
            self._save()
        if cursor.next < first:
            _log.error("%s: %d calls and spans fell out of the backlog", self.name, first - cursor.next)
            cursor.dropped += first - cursor.next
            cursor.next = first
        batch, entries, gone = self._take(cursor.next)
        cursor.gone += gone
        return (batch, cursor.next + entries) if entries else None

    def _advance(self, after: int) -> None:
        if self.cursor.error:
            _log.info("%s: calls are exported again", self.name)
        self.cursor.next, self.cursor.error = after, ""
        self._held, self._tries = None, 0
        self._save()

    def _give_up(self, why: str) -> None:
        if self._held is not None:
            batch, after = self._held
            _log.error("%s: %d calls and spans are given up: %s", self.name, len(batch), why)
            self.cursor.rejected += len(batch)
            self._advance(after)
            self.cursor.error = why
            self._save()

    def _put_off(self, error: SinkUnavailable) -> float:
        self._tries += 1
        if error.tries is not None and self._tries >= error.tries and self._held is not None:
            self._give_up(str(error))
            return _FIRST_PAUSE_S
        if str(error) != self.cursor.error:
            _log.warning("%s: exporting waits, nothing is lost: %s", self.name, error)
            self.cursor.error = str(error)
            self._save()
        if error.retry_after_s is not None:
            return min(max(error.retry_after_s, _FIRST_PAUSE_S), _ASKED_PAUSE_S)
        longest = min(_FIRST_PAUSE_S * 2.0 ** min(self._tries - 1, 10), _LONGEST_PAUSE_S)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing

    async def _pulse(self, counters: Callable[[], Mapping[str, int]]) -> None:
        try:
            await self.sink.pulse(await asyncio.to_thread(counters))
        except (SinkUnavailable, SinkRefused, TrimtabError) as error:
            _log.info("%s: metrics are sent with the next ones: %s", self.name, error)

    def _save(self) -> None:
        write_atomically(self._path, msgspec.json.encode(self.cursor), durable=False)


class _Take(NamedTuple):
    """Takes batches out of feed and store."""

    feed: FeedReader
    source: Source
    limits: Limits

    def __call__(self, start: int) -> tuple[Batch, int, int]:
        """Return what stands from an entry on, how many entries that is, and how many rows of them are gone."""
        entries = self.feed.read(start, self.limits.rows)
        calls = self.source.calls(ids_of(entries, "c"))
        size = 0
        for number, call in enumerate(calls):
            size += len(call.opened.request) + (len(call.closed.response) if call.closed else 0)
            if size > self.limits.payload_bytes and number:
                # The rest goes into another batch.
                fits = next(n for n, entry in enumerate(entries) if entry.id == call.id)
                entries, calls = entries[:fits], calls[:number]
                break
        spans = self.source.spans(ids_of(entries, "s"))
        wanted = len(ids_of(entries, "c")) + len(ids_of(entries, "s"))
        return Batch(calls=tuple(calls), spans=tuple(spans)), len(entries), wanted - len(calls) - len(spans)


def read_cursor(path: Path) -> Cursor:
    """Return a kept cursor; a new one where there is none, or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Cursor)
    except FileNotFoundError:
        return Cursor()
    except (OSError, msgspec.DecodeError) as error:
        _log.error("%s cannot be read (%s): exporting begins with what comes from now on", path, error)
        return Cursor()


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
            await asyncio.sleep(0)
    except TimeoutError:
        pass
