"""The call store with spans: what goes over all day files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trimtab.storage.days import MS_PER_DAY, day_number, file_name
from trimtab.storage.ports import Erasure
from trimtab.storage.span_port import MOST_CALLS, MOST_SPANS, Trace, TraceRow
from trimtab.storage.sqlite.calls import ROLL_BYTES, SqliteCallStore
from trimtab.storage.sqlite.dayfile import DayFile
from trimtab.storage.sqlite.erase import calls_of
from trimtab.storage.sqlite.schema import create_day_file
from trimtab.types import Call, SpanEnded, StorageError

from .table import Sums, key_of

_US_PER_DAY = MS_PER_DAY * 1000
_FOREVER = 1 << 62
_PAGE = 500
"""Spans of an export that are read at once."""

Place = tuple[int, bytes, str]
Key = tuple[bytes, bytes]


class SqliteTraceStore(SqliteCallStore):
    """Calls and spans in day files. A `storage.TraceStore`; safe to share between threads."""

    def __init__(self, folder: Path, *, read_only: bool, roll_bytes: int = ROLL_BYTES) -> None:
        super().__init__(folder, read_only=read_only, roll_bytes=roll_bytes)

    # Writing

    def insert_spans(self, spans: Sequence[SpanEnded]) -> int:
        """See `SpanStore.insert_spans`. About 25 µs of CPU a span in batches of 500."""
        days: dict[int, dict[Key, SpanEnded]] = {}
        for span in spans:
            days.setdefault(span.started_us // _US_PER_DAY, {}).setdefault(key_of(span), span)
        with self._using(write=True):
            return sum(self._insert_spans(day, batch) for day, batch in sorted(days.items()))

    def _insert_spans(self, day: int, batch: dict[Key, SpanEnded]) -> int:
        days = self._days()
        # Days are dropped from the oldest on. The one before the oldest takes what began just before midnight.
        if days and day < days[0] - 1:
            return 0
        gone = self._erased(day, {trace for trace, _ in batch})
        batch = {key: span for key, span in batch.items() if key[0] not in gone}
        for file in self._files(day, day):
            known = file.spans.known(batch)
            batch = {key: span for key, span in batch.items() if key not in known}
        if not batch:
            return 0
        file = self._file(day, self._part(day))
        file.dirty = True
        return file.spans.insert(list(batch.values()))

    def _part(self, day: int) -> int:
        """Return which of a day's files takes what is new; it is made where there is none with room."""
        last = max((part for found, part in self._listing() if found == day), default=0)
        if not last or self._file(day, last).size >= self._roll_bytes:
            last += 1
            create_day_file(self._folder / file_name(day, last))
            self._to_index.add((day, last))
        return last

    def _erased(self, day: int, traces: set[bytes]) -> set[bytes]:
        """Return the traces whose calls were erased on a day, or beside it."""
        return {trace for file in self._files(day - 1, day + 1) for trace in file.spans.erased(traces)}

    def erase_traces(self, traces: Mapping[str, int]) -> int:
        """See `SpanStore.erase_traces`."""
        days: dict[int, set[bytes]] = {}
        for trace_id, at_us in traces.items():
            trace = _trace_bytes(trace_id)
            if trace is None:
                raise ValueError(f"trace id {trace_id[:80]!r} must have 32 hex digits")
            days.setdefault(at_us // _US_PER_DAY, set()).add(trace)
        with self._using(write=True):
            for day, of_day in sorted(days.items()):
                self._note_erased(self._file(day, self._part(day)), of_day)
            gone = self._erase_spans({trace for of_day in days.values() for trace in of_day})
            for file in self._files(0, _FOREVER):
                file.scrub()
        return gone

    def _note_erased(self, file: DayFile, traces: set[bytes]) -> None:
        file.spans.create()
        file.dirty = True
        file.spans.note_erased(traces)

    def _erase_spans(self, traces: set[bytes]) -> int:
        """Delete the spans of traces in all files; scrubbing is to follow."""
        gone = 0
        for file in self._files(0, _FOREVER):
            of_file = file.spans.erase_traces(traces)
            file.dirty = bool(of_file) or file.dirty
            gone += of_file
        return gone

    def erase(self, what: Erasure) -> list[str]:
        """See `CallStore.erase`. Spans go first: a crash in between leaves the calls, which name their traces."""
        traces = self._traces_of(what, note=True)
        with self._using(write=True):
            self._erase_spans(traces)
        return super().erase(what)

    def erase_project(self, project: str) -> int:
        """See `CallStore.erase_project`."""
        with self._using(write=True):
            for file in self._files(0, _FOREVER):
                file.dirty = bool(file.spans.erase_project(project)) or file.dirty
        return super().erase_project(project)

    def expire(self, before: Mapping[str, str]) -> int:
        """See `CallStore.expire`."""
        with self._using(write=True):
            for project, name in before.items():
                for file in self._files(0, day_number(name) - 1):
                    file.dirty = bool(file.spans.erase_project(project)) or file.dirty
        return super().expire(before)

    # Reading

    def traces_of(self, what: Erasure) -> set[str]:
        """See `SpanStore.traces_of`. One lookup by index a call."""
        return {trace.hex() for trace in self._traces_of(what, note=False)}

    def _traces_of(self, what: Erasure, *, note: bool) -> set[bytes]:
        """Return the traces of an erasure's calls; with `note`, they take no late spans from now on."""
        if not (what.user or what.session):
            raise ValueError(f"{what!r} names neither a user nor a session")
        found: set[bytes] = set()
        with self._using(write=note):
            for file in self._files(0, _FOREVER):
                traces = file.traces_of(calls_of(what))
                if note and traces:
                    self._note_erased(file, traces)
                found |= traces
        return found

    def trace(
        self, trace_id: str, *, most_spans: int = MOST_SPANS, most_calls: int = MOST_CALLS
    ) -> Trace | None:
        """See `SpanStore.trace`. About 30 µs a file, and as much a call."""
        trace = _trace_bytes(trace_id)
        if trace is None:
            return None
        spans: list[SpanEnded] = []
        ids: list[tuple[bytes, DayFile]] = []
        span_count = call_count = 0
        with self._using():
            calls: list[Call] = []
            for file in self._files(0, _FOREVER):
                of_spans, of_calls = file.spans.counts(trace)
                span_count += of_spans
                call_count += of_calls
                if of_spans:
                    spans += file.spans.of_trace(trace, most_spans)
                if of_calls and len(calls) < most_calls:
                    ids = [(blob, file) for blob in file.spans.calls_of_trace(trace, most_calls)]
                    found = (one.get(blob, payload=False) for blob, one in ids)
                    calls += [call for call in found if call is not None]
        if not span_count and not calls:
            return None
        spans.sort(key=lambda span: (span.started_us, span.span_id))
        calls.sort(key=lambda call: call.id)
        return Trace(
            trace_id=trace.hex(),
            spans=tuple(spans[:most_spans]),
            calls=tuple(calls[:most_calls]),
            more_spans=max(0, span_count - most_spans),
            more_calls=max(0, call_count - most_calls),
        )

    def traces(self, *, project: str = "", before: str = "", limit: int = 50) -> list[TraceRow]:
        """See `SpanStore.traces`. About 60 µs a row."""
        place = _place(before) if before else None
        last = place[0] // _US_PER_DAY if place else _FOREVER
        rows: list[TraceRow] = []
        with self._using():
            for day in reversed([day for day in self._days() if day <= last]):
                for sums in self._newest(day, project, place, limit):
                    whole = self._whole(day, sums)
                    if whole is not None:
                        rows.append(whole)
                    if len(rows) >= limit:
                        return rows
        return rows

    def _newest(self, day: int, project: str, place: Place | None, limit: int) -> Iterator[Sums]:
        """Yield what a day's files have of traces below a place, newest first."""
        while True:
            found = [
                (sums, -part)
                for part, file in enumerate(self._files(day, day))
                for sums in file.spans.newest(project, place, limit)
            ]
            page = sorted(found, key=lambda one: (one[0].place, one[1]), reverse=True)[:limit]
            yield from (sums for sums, _ in page)
            if len(page) < limit or not limit:
                return
            place = page[-1][0].place

    def _whole(self, day: int, first: Sums) -> TraceRow | None:
        """Return a trace whole, given what one file of a day has; None where it stands elsewhere in the list."""
        if any(file.spans.sums(first.trace, first.project) for file in self._files(day - 1, day - 1)):
            return None  # with the day before
        whole: Sums | None = None
        while parts := self._parts_of(day, first):
            if whole is None and min(parts, key=lambda one: one.started_us) != first:
                return None  # with what another file of the day has
            for sums in parts:
                whole = sums if whole is None else whole.plus(sums)
            day += 1
        if whole is None:
            return None
        calls = sum(file.spans.counts(first.trace)[1] for file in self._files(0, _FOREVER))
        return TraceRow(
            trace_id=whole.trace.hex(),
            project=whole.project,
            name=whole.name,
            started_us=whole.started_us,
            ended_us=whole.ended_us,
            spans=whole.spans,
            errors=whole.errors,
            calls=calls,
        )

    def _parts_of(self, day: int, of: Sums) -> list[Sums]:
        found = (file.spans.sums(of.trace, of.project) for file in self._files(day, day))
        return [sums for sums in found if sums is not None]

    def spans(self, *, project: str = "", since_us: int = 0, until_us: int = 0) -> Iterator[SpanEnded]:
        """See `SpanStore.spans`. Reads all spans of the days in question."""
        until_us = until_us or _FOREVER
        with self._using():
            places = self._listing()
        for at in places:
            if since_us // _US_PER_DAY <= at[0] <= until_us // _US_PER_DAY:
                for span in self._spans_of_file(at):
                    if since_us <= span.started_us < until_us and project in ("", span.project):
                        yield span

    def _spans_of_file(self, at: tuple[int, int]) -> Iterator[SpanEnded]:
        after: Key = (b"", b"")
        while True:
            with self._using():
                if at not in self._listing():
                    return  # dropped meanwhile
                page = self._file(*at).spans.page(after, _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = key_of(page[-1])


def _trace_bytes(trace_id: str) -> bytes | None:
    try:
        trace = bytes.fromhex(trace_id)
    except ValueError:
        return None
    return trace if len(trace) == 16 else None


def _place(text: str) -> Place:
    started, _, rest = text.partition("-")
    trace_id, dash, project = rest.partition("-")
    trace = _trace_bytes(trace_id)
    if trace is None or not dash or not started.isdecimal() or len(started) > 18:
        raise StorageError(f"{text[:80]!r} is no place in the list of traces; take the last row's")
    return int(started), trace, project
