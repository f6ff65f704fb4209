"""The recorder: moves what the append log holds into the store, exactly once, and only then removes it."""

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from trimtab.storage import CallStore, SpanStore
from trimtab.types import Call, Clock, Closed, FeedbackGiven, Opened, Policy, SpanEnded, SystemClock
from trimtab.types.errors import FolderBusy, StorageError

from .erasure import Beside, Eraser
from .frames import Blank, Framed
from .join import OpenCalls, finished, unfinished, without_opening
from .keeping import Keeper
from .progress import Pause, Progress, Stored, told
from .reader import LogReader, SegmentReader
from .unplaced import Unplaced

LOCK_NAME = "recorder.lock"

_Row = TypeVar("_Row", Call, FeedbackGiven, SpanEnded)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a recorder takes on at once."""

    batch_calls: int = 1000
    """Calls in one transaction."""
    ready_bytes: int = 4 * 1024 * 1024
    """Of joined records, before they are stored."""
    pass_bytes: int = 8 * 1024 * 1024
    """Of the log, read in one step; the index gets its turn after that."""
    open_bytes: int = 32 * 1024 * 1024
    """Of open calls' records, held in memory; beyond it they are read again from the log when they close."""
    index_every_s: float = 0.5
    """Between two rounds of indexing while calls keep coming; an idle moment is used at once."""
    index_for_s: float = 0.5
    """One round of indexing at most, so that a long backlog of it does not hold up the log."""


class Recorder:
    """Reads all segments of a folder into a store. One at a time a folder, which its lock sees to."""

    def __init__(
        self,
        folder: Path,
        store: CallStore,
        *,
        clock: Clock | None = None,
        limits: Limits | None = None,
        policy: Callable[[], Policy] | None = None,
        stored: Stored | None = None,
        beside: Beside | None = None,
    ) -> None:
        """Take the folder's recorder lock.

        Args:
            folder: the log's.
            store: where the calls go.
            clock: tells times and days.
            limits: how much to take on at once.
            policy: says how long calls are kept, at each step anew; without it, for good.
            stored: told of what is stored; a row that is read again after a crash is told again.
            beside: erases what an erasure means beside log and store.

        Raises:
            FolderBusy: another recorder has it.
        """
        self._folder = folder
        self._store = store
        self._clock = clock or SystemClock()
        self._limits = limits or Limits()
        self._stored = stored
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = _take_lock(folder / LOCK_NAME)
        self._keeper = Keeper(store, policy, self._clock) if policy is not None else None
        self._eraser = Eraser(folder, store, beside)
        self._log = LogReader(folder)
        self._log.remove_unborn(self._clock.now_us())
        self._open = OpenCalls(self._limits.open_bytes)
        self._calls: list[Call] = []
        self._orphans: list[Call] = []
        self._feedback: list[FeedbackGiven] = []
        self._unplaced = Unplaced(store, self._clock, self._open.holds)
        self._spans: list[SpanEnded] = []
        self._late: list[tuple[SegmentReader, Framed]] = []
        self._ready_bytes = 0
        self._sources: set[SegmentReader] = set()
        self._unindexed = -1  # not known: an earlier recorder may have left some
        self._indexed_at = self._clock.monotonic()
        self._past_damaged = self._past_torn = self._refused = self._spans_left_out = 0
        self._errors: list[str] = []
        self._done: dict[str, int] = {}
        self._behind = False

    def step(self) -> Progress:
        """Take everything one pass further; an error of disk or store is reported, not raised."""
        self._done = {}
        self._errors = []
        for part in (self._keep, self._record):
            try:
                part()
            except (StorageError, OSError) as error:
                self._errors.append(str(error))
        return self._progress()

    def run(self, stop: Callable[[], bool], *, sleep: Callable[[float], None] = time.sleep) -> Progress:
        """Step until `stop` says so, asked at least every 200 ms; then drain the log and return.

        Pauses 20 ms to 200 ms between steps: short after a lone call, so that it shows at once; longer under
        load, where bigger batches are cheaper; up to 5 s while a step fails.
        """
        pause = Pause()
        while not stop():
            left = pause.after(self.step())
            while left > 0 and not stop():
                sleep(min(left, Pause.LONGEST_S))
                left -= Pause.LONGEST_S
        return self.drain()

    def drain(self, limit_s: float = 10.0) -> Progress:
        """Step until there is nothing left to do, a step fails, or the time is over; return the last step."""
        deadline = self._clock.monotonic() + limit_s
        idle_steps = 0
        while True:
            progress = self.step()
            idle_steps = idle_steps + 1 if progress.idle else 0
            # Twice, for a segment is seen in one step, and known to have ended in the next.
            if idle_steps > 1 or progress.error or self._clock.monotonic() >= deadline:
                return progress

    def close(self) -> None:
        """Release the files and the lock; what is not stored yet is read again by the next recorder."""
        self._log.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The steps, in their order.

    def _keep(self) -> None:
        """Remove what is too old or too much: first, and whatever fails after it, for the disk may be full."""
        if self._keeper is not None:
            files, calls = self._keeper.step()
            self._count("dropped_files", len(files))
            self._count("expired", calls)

    def _record(self) -> None:
        self._find()
        self._read()
        self._settle()
        self._index()
        self._remove()
        self._erase()

    def _find(self) -> None:
        self._log.refresh()
        self._errors += (f"{name}: {problem}" for name, problem in self._log.problems.items())

    def _read(self) -> None:
        """Read on in all segments, a piece each in turn; one writer's segments one after the other."""
        self._store_ready()  # what an earlier step could not store: nothing more is taken on before that
        left = self._limits.pass_bytes
        todo = list(self._log.segments.values())
        while todo and left > 0:
            going_on: dict[str, SegmentReader] = {}
            waiting = []
            for segment in todo:
                if segment.writer_name in going_on:
                    waiting.append(segment)
                    continue
                before = segment.offset
                if self._read_piece(segment):
                    going_on[segment.writer_name] = segment
                left -= segment.offset - before
            todo = [*going_on.values(), *waiting]
        self._behind = bool(todo)
        self._store_ready()
        self._eraser.blank_late(self._late)
        self._late.clear()

    def _settle(self) -> None:
        """Give up on calls whose writer died: they are stored as unfinished."""
        for segment in list(self._log.segments.values()):
            if not segment.open_calls or not self._log.writer_is_done(segment):
                continue
            for call_id in sorted(segment.open_calls):
                opened = self._open.take(call_id)
                if isinstance(opened, Opened):
                    self._calls.append(unfinished(opened))
                    self._ready_bytes += len(opened.request)
                    self._sources.add(segment)
                if self._is_full():
                    self._done["unfinished"] = self._done.get("unfinished", 0) + self._store_ready()
            self._done["unfinished"] = self._done.get("unfinished", 0) + self._store_ready()

    def _index(self) -> None:
        """Index words of stored calls: in idle moments, and every half second where there are none."""
        now = self._clock.monotonic()
        busy = bool(self._done.get("records"))
        if not self._unindexed or (busy and now - self._indexed_at < self._limits.index_every_s):
            return
        try:
            before = 0
            while self._unindexed not in (0, before):
                before = self._unindexed
                self._unindexed = self._store.index_pending(self._limits.batch_calls)
                self._count("indexed", max(before - self._unindexed, 0))
                if self._clock.monotonic() - now >= self._limits.index_for_s:
                    break
        except StorageError as error:  # the log's disk space must come back even where the index is broken
            self._errors.append(f"index: {error}")
        self._indexed_at = self._clock.monotonic()

    def _remove(self) -> None:
        """Remove segments of which every record is safe in the store, even from a power cut."""
        done = [
            segment
            for segment in self._log.segments.values()
            if segment.ended
            and segment.at_end
            and not (segment.open_calls or segment.too_new or self._unplaced.holds(segment))
        ]
        if not done:
            return
        self._store.flush()
        for segment in done:
            self._past_damaged += segment.damaged_bytes
            self._past_torn += segment.torn_bytes
            self._count("set_aside" if segment.faulty or segment.damaged_bytes else "removed", 1)
            self._log.remove(segment)

    def _erase(self) -> None:
        """Carry out requests to erase; what was read of the log by now is stored, and erased with the rest."""
        for request in self._eraser.requests():
            erased = self._eraser.perform(request)
            self._open.erase(erased)
            self._unplaced.erase(erased)
            self._count("erasures", 1)

    # What the steps are made of.

    def _read_piece(self, segment: SegmentReader) -> bool:
        """Read a segment's next piece and join what is in it; return whether there is more to read now."""
        try:
            found = segment.read()
        except OSError as error:
            self._errors.append(f"{segment.path.name}: {error}")
            return False
        self._count("records", len(found))
        for framed in found:
            self._join(framed, segment)
        if self._is_full():
            self._store_ready()
        return not segment.at_end

    def _join(self, framed: Framed, segment: SegmentReader) -> None:
        record = framed.record
        if isinstance(record, Blank):
            self._join_blank(record, framed, segment)
            return
        if isinstance(record, Opened):
            self._open.add(record, segment, framed)
            return
        self._ready_bytes += framed.end - framed.start
        self._sources.add(segment)
        if isinstance(record, Closed):
            opened = self._open.take(record.id)
            if isinstance(opened, Blank):
                self._late.append((segment, framed))
            elif opened is None:
                self._orphans.append(without_opening(record))
            else:
                self._ready_bytes += len(opened.request)
                self._calls.append(finished(opened, record))
        elif isinstance(record, SpanEnded):
            self._spans.append(record)
        else:
            self._unplaced.add(record, segment, framed)

    def _join_blank(self, record: Blank, framed: Framed, segment: SegmentReader) -> None:
        if record.kind == "o":
            self._open.add(record, segment, framed)
        elif record.kind == "c":
            self._open.take(record.id)

    def _is_full(self) -> bool:
        return self._ready_bytes >= self._limits.ready_bytes or len(self._calls) >= self._limits.batch_calls

    def _store_ready(self) -> int:
        """Store what is joined; return how many calls were new. On an error, what is left is kept."""
        stored = [*self._calls, *self._orphans] if len(self._unplaced) else ()
        insert = told(self._store.insert, self._stored)
        new = self._store_rows(self._calls, insert)
        orphans = self._store_rows(self._orphans, insert)
        self._count("opening_lost", orphans)
        self._feedback += self._unplaced.placed(stored, all_read=not self._behind)
        self._late += self._unplaced.left_out
        self._unplaced.left_out.clear()
        self._count("feedback", self._store_rows(self._feedback, self._store.insert_feedback))
        self._count("spans", self._store_spans())
        self._count("stored", new + orphans)
        if new + orphans:
            self._unindexed = max(self._unindexed, 0) + new + orphans
        self._ready_bytes = 0
        self._sources.clear()
        return new

    def _store_spans(self) -> int:
        """Store spans where the store takes any; return how many were new."""
        if isinstance(self._store, SpanStore):
            return self._store_rows(self._spans, told(self._store.insert_spans, self._stored))
        self._spans_left_out += len(self._spans)
        self._spans.clear()
        return 0

    def _store_rows(self, rows: list[_Row], insert: Callable[[Sequence[_Row]], int]) -> int:
        """Store rows in batches, taking them off the list as they are safe; return how many were new."""
        new = 0
        while rows:
            batch = rows[: self._limits.batch_calls]
            try:
                new += insert(batch)
            except (ValueError, TypeError, OverflowError):
                new += self._store_singly(batch, insert)
            del rows[: len(batch)]
        return new

    def _store_singly(self, batch: Sequence[_Row], insert: Callable[[Sequence[_Row]], int]) -> int:
        """Store rows one by one: a row that the store cannot hold must not keep the others out for good."""
        new = 0
        for row in batch:
            try:
                new += insert([row])
            except (ValueError, TypeError, OverflowError) as error:
                self._refused += 1
                self._errors.append(f"record {row.id!r} cannot be stored: {error}; its segment is kept")
                for segment in self._sources:
                    segment.faulty = True
        return new

    def _count(self, what: str, number: int) -> None:
        self._done[what] = self._done.get(what, 0) + number

    def _progress(self) -> Progress:
        segments = self._log.segments.values()
        return Progress(
            **self._done,
            behind=self._behind,
            unindexed=max(self._unindexed, 0),
            open_calls=len(self._open),
            damaged_bytes=self._past_damaged + sum(segment.damaged_bytes for segment in segments),
            torn_bytes=self._past_torn + sum(segment.torn_bytes for segment in segments),
            refused=self._refused,
            unplaced=self._unplaced.given_up,
            spans_left_out=self._spans_left_out,
            too_new=tuple(segment.path.name for segment in segments if segment.too_new),
            error="; ".join(self._errors),
        )


def _take_lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise FolderBusy(
            f"another recorder works on {str(path.parent)!r} (it holds {path.name}); "
            "one is enough: use that one, or end it first"
        ) from error
    return fd
