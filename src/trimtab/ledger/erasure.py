"""Erasing from the append log and the store: requests as files, blanked records, and what comes of a crash.

Only the recorder writes the store, so whoever wants something erased leaves a request in the log's folder:

    erase/ID.json   a request, until it is done with
    erase/ID.plan   the frames that are being blanked: after a crash they are blanked again, for they may be torn
    erase/ID.done   what came of it; whoever asked takes it away

A record is blanked in place: its frame keeps its length, and its payload becomes a `Blank` of valid CRC. Its
writer may append meanwhile: what it takes back after a failed write lies behind every whole frame. The log is
blanked first, then the store: a log read again after a crash in between stores nothing of what was erased. A
request whose recorder died is simply carried out again.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from trimtab.storage import CallStore, Erasure, SpanStore, write_atomically
from trimtab.types import (
    Closed,
    FeedbackGiven,
    Opened,
    Record,
    SpanEnded,
    new_id,
    parse_trace_parent,
)
from trimtab.types.errors import StorageError

from .frames import Blank, Framed, RecordKind
from .reader import SegmentReader
from .segment import DAMAGED_SUFFIX, SUFFIX

FOLDER = "erase"
_DRAFT_S = 60.0
"""Far longer than anybody living takes to write one."""

_REQUEST, _PLAN, _DONE = ".json", ".plan", ".done"


class ErasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to erase."""

    what: Erasure
    whole_project: bool = False
    """Erase all of `what.project`, whosever calls they are."""


Beside = Callable[[ErasureRequest, CallStore], None]
"""Erases what a request means beside log and store. Raises StorageError or OSError: not now, try again."""


class ErasureResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request."""

    calls: int = 0
    """Removed from the store."""
    log_records: int = 0
    """Blanked in the append log."""
    unreadable: tuple[str, ...] = ()
    """Segments with bytes that nobody can read, so that nothing can be promised of them; delete them yourself."""
    error: str = ""
    """Why the request was refused; empty where it was carried out."""


def request_erasure(log_folder: Path, what: Erasure, *, whole_project: bool = False) -> str:
    """Ask the recorder of a log to erase; return the request's id, for `erasure_result`.

    Args:
        log_folder: the append log's folder.
        what: whose calls; see `CallStore.erase`.
        whole_project: erase all of `what.project` instead; user and session must be empty.

    Raises:
        ValueError: neither user nor session is given, or both they and a whole project.
        StorageError: the request cannot be written.
    """
    _check(what, whole_project=whole_project)
    request_id = new_id()
    try:
        (log_folder / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(
            log_folder / FOLDER / f"{request_id}{_REQUEST}",
            msgspec.json.encode(ErasureRequest(what=what, whole_project=whole_project)),
        )
    except OSError as error:
        raise StorageError(
            f"the request to erase cannot be written: {error}; free space, or mend it"
        ) from error
    return request_id


def erasure_result(log_folder: Path, request_id: str) -> ErasureResult | None:
    """Take a request's result away; None while the recorder has not carried it out."""
    path = log_folder / FOLDER / f"{request_id}{_DONE}"
    try:
        result = msgspec.json.decode(path.read_bytes(), type=ErasureResult)
    except FileNotFoundError:
        return None
    path.unlink(missing_ok=True)
    return result


def _check(what: Erasure, *, whole_project: bool) -> None:
    named = bool(what.user or what.session)
    if named == whole_project or (whole_project and not what.project):
        raise ValueError(f"{what!r} must name a user or a session, or else a whole project")


class _Found(NamedTuple):
    """A frame in the log."""

    path: Path
    start: int
    end: int
    kind: RecordKind
    id: str


class Eraser:
    """Carries out requests for one recorder."""

    def __init__(self, folder: Path, store: CallStore, beside: Beside | None = None) -> None:
        """Blank again what a recorder that died was blanking: before anything is read.

        Args:
            folder: the log's.
            store: where the calls are.
            beside: erases what stands elsewhere, once log and store are done; called again after a crash.
        """
        self._beside = beside
        self._log = folder
        self._folder = folder / FOLDER
        self._store = store
        for plan in self._files(_PLAN):
            self._carry_out(plan)
        # Drafts of whoever was killed while writing one: a request names whom nobody shall name any more.
        for draft in self._folder.glob(".*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if draft.stat().st_mtime < time.time() - _DRAFT_S:
                    draft.unlink()

    def requests(self) -> list[Path]:
        """Return the requests that wait, oldest first."""
        return self._files(_REQUEST)

    def _files(self, suffix: str) -> list[Path]:
        try:
            names = [entry.name for entry in os.scandir(self._folder)]
        except FileNotFoundError:
            return []
        return [self._folder / name for name in sorted(names) if name.endswith(suffix) and name[0] != "."]

    def perform(self, path: Path) -> set[str]:
        """Carry out a request; return the ids of the records that were blanked in the log.

        Reads the whole log (100 MB a second), then see `CallStore.erase`.

        Raises:
            StorageError: not now; it stays, to be tried again.
            OSError: the same.
        """
        try:
            request = msgspec.json.decode(path.read_bytes(), type=ErasureRequest)
            _check(request.what, whole_project=request.whole_project)
        except (msgspec.DecodeError, ValueError) as error:
            self._finish(path, ErasureResult(error=f"the request cannot be read: {error}"))
            return set()
        meant = _Meant(self._store, request)
        frames, unreadable = self._find(meant)
        # Before the log is blanked: after a crash, its openings could no longer tell which traces were meant.
        if isinstance(self._store, SpanStore):
            self._store.erase_traces(meant.traces)
        self._blank(path.with_suffix(_PLAN), frames)
        if request.whole_project:
            calls = self._store.erase_project(request.what.project)
        else:
            calls = len(self._store.erase(request.what))
        if self._beside is not None:
            self._beside(request, self._store)
        self._finish(path, ErasureResult(calls=calls, log_records=len(frames), unreadable=unreadable))
        return {found.id for found in frames}

    def blank_late(self, late: Iterable[tuple[SegmentReader, Framed]]) -> None:
        """Blank ends of calls that were erased while they were open, and feedback that came after an erasure."""
        frames = [
            _Found(segment.path, framed.start, framed.end, _KINDS[type(framed.record)], framed.record.id)
            for segment, framed in late
        ]
        if frames:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._blank(self._folder / f"late{_PLAN}", frames)

    def _finish(self, request: Path, result: ErasureResult) -> None:
        write_atomically(request.with_suffix(_DONE), msgspec.json.encode(result))
        request.unlink(missing_ok=True)  # it names whom nobody shall name any more

    # Finding

    def _find(self, meant: "_Meant") -> tuple[list[_Found], tuple[str, ...]]:
        """Return the log's frames that a request means, and the files that hold unreadable bytes."""
        frames: list[_Found] = []
        others: list[tuple[Record, _Found]] = []
        unreadable = []
        for path in self._segments():
            reader = SegmentReader(path)
            try:
                for record, found in _records(reader):
                    if meant.at_once(record):
                        frames.append(found)
                    elif not isinstance(record, Opened):
                        others.append((record, found))
                if reader.too_new or reader.damaged_bytes:
                    unreadable.append(path.name)
            finally:
                reader.close()
        frames += (found for record, found in others if meant.with_its_call(record))
        return frames, tuple(unreadable)

    def _segments(self) -> list[Path]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(path for path in self._log.iterdir() if path.suffix in (SUFFIX, DAMAGED_SUFFIX))
        return []

    # Blanking

    def _blank(self, plan: Path, frames: list[_Found]) -> None:
        if not frames:
            return
        entries = [(f.path.name, f.start, f.end, f.kind, f.id) for f in frames]
        write_atomically(plan, msgspec.json.encode(entries))
        self._carry_out(plan)

    def _carry_out(self, plan: Path) -> None:
        entries = msgspec.json.decode(plan.read_bytes(), type=list[tuple[str, int, int, RecordKind, str]])
        by_segment: dict[str, list[tuple[int, int, RecordKind, str]]] = {}
        for name, start, end, kind, record_id in entries:
            by_segment.setdefault(name, []).append((start, end, kind, record_id))
        for name, blanks in by_segment.items():
            self._blank_segment(self._log / name, blanks)
        plan.unlink()

    def _blank_segment(self, path: Path, blanks: list[tuple[int, int, RecordKind, str]]) -> None:
        if not path.exists():  # set aside meanwhile, or removed since all of it is stored
            path = path.with_suffix(DAMAGED_SUFFIX)
        try:
            reader = SegmentReader(path)
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            reader.read()  # its header seeds the CRCs
            for start, end, kind, record_id in blanks:
                frame = reader.blanked(end - start, kind, record_id)
                if os.pwrite(fd, frame, start) != len(frame):
                    raise StorageError(
                        f"{path} cannot be overwritten; mend its disk: erasing goes on by itself"
                    )
            os.fsync(fd)
        finally:
            os.close(fd)
            reader.close()


def _records(reader: SegmentReader) -> Iterator[tuple[Record, _Found]]:
    """Yield a segment's records that are not blank."""
    while True:
        for framed in reader.read():
            record = framed.record
            if not isinstance(record, Blank):
                yield record, _Found(reader.path, framed.start, framed.end, _KINDS[type(record)], record.id)
        if reader.at_end:
            return


_KINDS: Final[dict[type, RecordKind]] = {Opened: "o", Closed: "c", FeedbackGiven: "f", SpanEnded: "s"}


class _Meant:
    """Tells which records of the log a request means, once all openings were seen."""

    def __init__(self, store: CallStore, request: ErasureRequest) -> None:
        self._store = store
        self._request = request
        self._calls: dict[str, bool] = {}
        """By id: whether the call is meant, as far as it is known."""
        self._stored_traces = self._look_up_traces()
        self.traces: dict[str, int] = {}
        """Those that calls in the log were made in, and when one of them was opened."""
        self._responses: dict[str, str] = {}

    def _look_up_traces(self) -> set[str]:
        """Return the traces of calls whose openings may have left the log."""
        if self._request.whole_project or not isinstance(self._store, SpanStore):
            return set()
        return self._store.traces_of(self._request.what)

    def at_once(self, record: Record) -> bool:
        """Tell whether a record is meant for what itself says; remember what says more of others."""
        what = self._request.what
        if isinstance(record, Opened):
            meant = self._calls[record.id] = _is_meant(record, self._request)
            parsed = parse_trace_parent(record.trace_parent) if meant else None
            if parsed is not None:
                self.traces[parsed[0]] = record.opened_us
            return meant
        if isinstance(record, Closed):
            if record.provider_response_id:
                self._responses[record.provider_response_id] = record.id
            return False
        if isinstance(record, SpanEnded):
            return self._request.whole_project and what.project == record.project
        return _gave(record, self._request)

    def with_its_call(self, record: Record) -> bool:
        """Tell whether a record is meant since the call, or the trace, that it belongs to is."""
        if isinstance(record, SpanEnded):
            return record.trace_id in self.traces or record.trace_id in self._stored_traces
        call_id = record.id
        if isinstance(record, FeedbackGiven):
            call_id = record.call_id or self._responses.get(record.response_id, "")
            if not call_id and record.response_id:
                call_id = self._store.find_response(record.response_id) or ""
        return bool(call_id) and self._is_call_meant(call_id)

    def _is_call_meant(self, call_id: str) -> bool:
        if call_id not in self._calls:
            # Its opening is no longer in the log: the store knows whose call that was.
            call = self._store.get(call_id)
            self._calls[call_id] = call is not None and _is_meant(call.opened, self._request)
        return self._calls[call_id]


def _is_meant(opened: Opened, request: ErasureRequest) -> bool:
    what = request.what
    pairs = ((what.project, opened.project), (what.user, opened.user), (what.session, opened.session))
    return all(not wanted or wanted == found for wanted, found in pairs)


def _gave(given: FeedbackGiven, request: ErasureRequest) -> bool:
    """Tell whether feedback was given by whom, or in what, is erased: as `CallStore.erase` takes it."""
    what = request.what
    if what.session:
        return False
    pairs = ((what.project, given.project), (what.user, given.user))
    return all(not wanted or wanted == found for wanted, found in pairs)
