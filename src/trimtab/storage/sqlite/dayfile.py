"""One day file, open: its calls, payloads, words, feedback and rollups."""

# ruff: noqa: S608 - what is pasted into SQL here are our own names of columns; every value is bound

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from trimtab.storage.days import place_of
from trimtab.storage.ports import Cube, RollupRow, SessionRow
from trimtab.types import Call, FeedbackGiven, StorageError

from . import lookups, upkeep
from .connection import connect, snapshot, storage_errors, transaction
from .erase import Condition, erase_calls, erase_feedback, traces_of
from .gaps import wipe_gaps
from .lookups import InSession
from .packed import zones
from .packed.blocks import NOTHING, Payloads
from .packed.index import EMBEDDINGS, WordIndex
from .packed.names import Names
from .payload import Parts, PayloadCodec
from .rollups import Tally, facts_of, read_rollup
from .rows import COLUMNS, FEEDBACK_COLUMNS, feedback_from_row, feedback_row, from_row, named_row, to_row
from .schema import DAY_FORMATS, backup_of
from .search import Search, Statement
from .spans import SpanTable

_INSERT = (
    f"INSERT OR IGNORE INTO calls ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    "RETURNING id, place"
)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM calls"
_FEEDBACK = f"SELECT {', '.join(FEEDBACK_COLUMNS)} FROM feedback"
_CHUNK = 500
"""Values in one IN list; SQLite's own bound is 32,766."""

_Read = TypeVar("_Read")
_Stored = tuple[int, Call, bytes]
"""A call's number, the call, its id."""


class DayFile:
    """An open day file. Its methods raise `StorageError`; not for two threads at once."""

    def __init__(self, path: Path, day: int, codec: PayloadCodec, *, read_only: bool) -> None:
        self.path = path
        self.day = day
        self.dirty = False
        with storage_errors(path):
            self.inode = path.stat().st_ino
        self._codec = codec
        self.spans = SpanTable(lambda: self._connection, path, codec)
        self._connect(read_only=read_only)

    def _connect(self, *, read_only: bool = False) -> None:
        self._connection = connect(self.path, formats=DAY_FORMATS, read_only=read_only)
        self._names = Names(self._connection)
        self._payloads = Payloads(self._connection, self._codec)
        self._words = WordIndex(self._connection, self._payloads)

    def close(self) -> None:
        """Release the file."""
        with storage_errors(self.path):
            self._connection.close()

    @property
    def size(self) -> int:
        """Bytes of the database, its write-ahead log aside."""
        with storage_errors(self.path):
            return int(self._connection.pragma("page_count")) * int(self._connection.pragma("page_size"))

    # Writing

    def insert(self, batch: dict[bytes, Call]) -> int:
        """Store what is not there yet, in one transaction; return how many calls were new."""
        self.spans.create()
        with self._writing():
            docs = zones.number(self._connection, batch)
            places = dict(
                self._connection.executemany(
                    _INSERT, (self._row(batch[blob], blob, place_of(blob), doc) for blob, doc in docs.items())
                )
            )
            tally = Tally()
            stored = [(docs[blob], batch[blob], blob) for blob in places]
            if len(places) < len(batch):
                left = {blob: call for blob, call in batch.items() if blob not in places}
                present, late = self._upgrade(left, docs, tally)
                displaced = {blob: call for blob, call in left.items() if blob not in present}
                places.update(
                    (blob, self._displace(call, blob, docs[blob])) for blob, call in displaced.items()
                )
                stored += [*late, *((docs[blob], call, blob) for blob, call in displaced.items())]
            zones.note(self._connection, ((docs[blob], place) for blob, place in places.items()))
            self._store_rest(stored, tally)
            tally.write(self._connection)
            return len(places)

    def absorb(self, batch: dict[bytes, Call]) -> dict[bytes, Call]:
        """Let late ends into the calls that this file has already, and return the other calls."""
        with storage_errors(self.path):
            present = {row[0] for row in self._present(batch)}
        if not present:
            return batch
        self.spans.create()
        with self._writing():
            tally = Tally()
            here = {blob: call for blob, call in batch.items() if blob in present}
            docs = zones.number(self._connection, here)
            self._store_rest(self._upgrade(here, docs, tally)[1], tally)
            tally.write(self._connection)
        return {blob: call for blob, call in batch.items() if blob not in present}

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Run the block in one transaction that may give numbers to names."""
        with storage_errors(self.path):
            self.dirty = True
            try:
                with transaction(self._connection):
                    yield
            except BaseException:
                self._names.forget()
                raise

    def _row(self, call: Call, blob: bytes, place: int, doc: int) -> list[Any]:
        return to_row(call, blob, place, doc, self._names)

    def _present(self, blobs: Iterable[bytes]) -> list[tuple[bytes, int, int]]:
        """Return (id, place, whether it is unfinished) of those ids that are stored."""
        found: list[Any] = self._connection.executemany(
            "SELECT id, place, closed_us IS NULL FROM calls WHERE id = ?", ((blob,) for blob in blobs)
        ).fetchall()
        return found

    def _upgrade(
        self, batch: dict[bytes, Call], docs: dict[bytes, int], tally: Tally
    ) -> tuple[set[bytes], list[_Stored]]:
        """Let unfinished rows give way to late ends; return the ids that are stored already, and what is new."""
        present = self._present(batch)
        late = [
            (place, batch[blob], blob) for blob, place, is_open in present if is_open and batch[blob].closed
        ]
        for place, call, blob in late:
            self._forget(place, tally)
            self._connection.execute(_INSERT, self._row(call, blob, place, docs[blob]))
        zones.note(self._connection, ((docs[blob], place) for place, _, blob in late))
        return {row[0] for row in present}, [(docs[blob], call, blob) for _, call, blob in late]

    def _forget(self, place: int, tally: Tally) -> None:
        """Take an unfinished call out, so that its finished self can be stored in its place."""
        row = self._connection.execute(_SELECT + " WHERE place = ?", (place,)).get
        old, doc = self._call(row, NOTHING), row[-1]
        if old.opened.purpose == "live":
            tally.take_back(facts_of(old, row[1]))
        if self._connection.execute("DELETE FROM pending WHERE doc = ? RETURNING 1", (doc,)).get is None:
            self._connection.execute("DELETE FROM words WHERE rowid = ?", (doc,))
        for table in ("tag", "calls"):
            self._connection.execute(f"DELETE FROM {table} WHERE place = ?", (place,))
        self._payloads.drop([doc])

    def _displace(self, call: Call, blob: bytes, doc: int) -> int:
        """Store a call whose place another has, in the next one above; return that place."""
        own = place_of(blob)
        place = own + 1
        while self._connection.execute("SELECT 1 FROM calls WHERE place = ?", (place,)).get is not None:
            reach = self._displacement()
            top = self._connection.execute(
                "SELECT max(place) FROM calls WHERE place BETWEEN ? AND ?", (place, place + reach)
            ).get
            place = top + 1
        self._connection.execute(
            "UPDATE meta SET value = max(value, ?) WHERE name = 'displacement'", (place - own,)
        )
        self._connection.execute(_INSERT, self._row(call, blob, place, doc))
        return place

    def _store_rest(self, stored: list[_Stored], tally: Tally) -> None:
        """Store payloads and tags of calls just inserted, note what is to be indexed, and count them."""
        payloads: dict[int, Parts] = {}
        pending: list[tuple[int, bool]] = []
        tags: list[tuple[str, int]] = []
        for doc, call, blob in sorted(stored, key=lambda one: one[0]):
            o = call.opened
            response = call.closed.response if call.closed else b""
            if o.request or response or o.variables:
                payloads[doc] = (o.request, response, o.variables)
                if o.payload in ("full", "masked"):
                    pending.append((doc, o.kind == EMBEDDINGS))
            tags.extend((name, doc) for name in o.tags)
            if o.purpose == "live":
                tally.add(facts_of(call, blob))
        self._payloads.store(payloads)
        run = self._connection.executemany
        self.spans.note_calls((call.opened.trace_parent, blob) for _, call, blob in stored)
        run("INSERT INTO pending (doc, embeddings) VALUES (?, ?)", pending)
        if tags:
            run("INSERT OR IGNORE INTO tag (name, place) SELECT ?, place FROM calls WHERE doc = ?", tags)

    def has_feedback(self, feedback_id: str) -> bool:
        """Return whether feedback of that id is stored here."""
        with storage_errors(self.path):
            found = self._connection.execute("SELECT 1 FROM feedback WHERE id = ?", (feedback_id,)).get
            return found is not None

    def has_call(self, blob: bytes) -> bool:
        """Return whether a call is stored here."""
        with storage_errors(self.path):
            return self._connection.execute("SELECT 1 FROM calls WHERE id = ?", (blob,)).get is not None

    def insert_feedback(self, given: Sequence[FeedbackGiven]) -> int:
        """Store what is not there yet, in one transaction; return how many were new."""
        with storage_errors(self.path), transaction(self._connection):
            self.dirty = True
            marks = ", ".join("?" * len(FEEDBACK_COLUMNS))
            before = self._connection.total_changes()
            self._connection.executemany(
                f"INSERT OR IGNORE INTO feedback ({', '.join(FEEDBACK_COLUMNS)}) VALUES ({marks})",
                [feedback_row(one) for one in given],
            )
            return self._connection.total_changes() - before

    def index_pending(self, limit: int) -> int:
        """Index up to `limit` waiting calls, in one transaction; return how many were."""
        with storage_errors(self.path), transaction(self._connection):
            self.dirty = True
            return self._words.take(limit)

    def traces_of(self, condition: Condition) -> set[bytes]:
        """Return the traces that matching calls were made in."""
        with storage_errors(self.path):
            return traces_of(self._connection, condition)

    def erase(self, condition: Condition) -> Iterator[bytes]:
        """Delete matching calls with all that hangs on them; yield the ids of those that are gone."""
        self.spans.create()
        with storage_errors(self.path):
            self.dirty = True
            yield from erase_calls(self._connection, condition, self._names, self._payloads)

    def erase_feedback(self, on_calls: Sequence[bytes], condition: Condition | None) -> None:
        """Delete feedback on some calls, and what matches a condition."""
        with storage_errors(self.path):
            self.dirty = True
            erase_feedback(self._connection, on_calls, condition)

    def owe_scrub(self) -> None:
        """Note that something was deleted of which traces may be left, here or in the old copy."""
        with storage_errors(self.path):
            self.dirty = True
            upkeep.note_deletion(self._connection)

    def scrub(self) -> None:
        """Leave no byte of what was deleted in the file, its log or its old copy; nothing to do without deletions.

        Raises:
            StorageError: a reader is in the way; nothing is lost, call it again.
        """
        with storage_errors(self.path):
            if not upkeep.needs_scrub(self._connection):
                return
            backup_of(self.path).unlink(missing_ok=True)
            upkeep.clear_traces(self._connection, self._names)
            self._connection.close()  # with the pages it remembers, gaps and all
            try:
                wipe_gaps(self.path)
            finally:
                self._connect()
            upkeep.scrubbed(self._connection)

    def waiting(self) -> int:
        """Return how many calls wait to be indexed."""
        with storage_errors(self.path):
            return int(self._connection.execute("SELECT count(*) FROM pending").get)

    def flush(self) -> None:
        """Return once all that was written survives a power cut."""
        if not self.dirty:
            return
        with storage_errors(self.path):
            # At FULL, a commit syncs the write-ahead log, and with it all commits before.
            self._connection.pragma("synchronous", "FULL")
            try:
                self._connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'flushed'")
            finally:
                self._connection.pragma("synchronous", "NORMAL")
            # PASSIVE waits for no reader; the log is emptied by the next writer once all of it has moved.
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.dirty = False

    # Reading

    def get(self, blob: bytes, *, payload: bool = True) -> Call | None:
        """Return a call, with its payload unless told otherwise, without feedback; or None."""
        with storage_errors(self.path), snapshot(self._connection):
            row = self._connection.execute(_SELECT + " WHERE id = ?", (blob,)).get
            if row is None:
                return None
            return self._call(row, self._payload(row[-1]) if payload else NOTHING)

    def find(self, search: Search, limit: int, *, payload: bool) -> list[Call]:
        """Return the newest `limit` matching calls, without feedback, newest first."""
        with storage_errors(self.path), snapshot(self._connection):
            reach = self._displacement()
            statement = search.statement(self.day, reach, self._names)
            if search.asked is None:
                found: Iterable[tuple[Any, ...]] = self._connection.execute(*statement)
            else:
                found = self._with_words(search, statement, reach)
            rows: list[tuple[Any, ...]] = []
            for row in found:
                # A call may stand up to `reach` above its own place: only rows further down than that
                # are surely older than the last one of the page.
                if len(rows) >= limit and row[0] < rows[limit - 1][0] - reach:
                    break
                rows.append(row)
            if search.asked is not None:
                places = ((row[0],) for row in rows)
                rows = self._connection.executemany(_SELECT + " WHERE place = ?", places).fetchall()
            rows.sort(key=lambda row: row[1], reverse=True)
            return [self._call(row, self._payload(row[-1]) if payload else NOTHING) for row in rows[:limit]]

    def _with_words(self, search: Search, statement: Statement, reach: int) -> Iterator[tuple[Any, ...]]:
        """Yield (place, number, kind) of calls with the words asked for, highest place first."""
        assert search.asked is not None

        def having_all(among: zones.Range) -> list[zones.Found]:
            values = (*statement.values, among.first, among.end)
            rows: list[Any] = self._connection.execute(statement.sql, values).fetchall()
            return rows

        ranges = search.ranges(self.day, reach, zones.zones_of(self._connection))
        return self._words.newest_first(search.asked, ranges, having_all)

    def _call(self, row: Sequence[Any], parts: Parts) -> Call:
        return from_row(named_row(row, self._names), parts)

    def feedback(self, blobs: Sequence[bytes]) -> dict[str, list[FeedbackGiven]]:
        """Return the feedback on calls, by call id, oldest first."""
        found: dict[str, list[FeedbackGiven]] = {}
        with storage_errors(self.path):
            for start in range(0, len(blobs), _CHUNK):
                chunk = tuple(blobs[start : start + _CHUNK])
                marks = ", ".join("?" * len(chunk))
                for row in self._connection.execute(
                    f"{_FEEDBACK} WHERE call_id IN ({marks}) ORDER BY at_us, id", chunk
                ):
                    given = feedback_from_row(row)
                    found.setdefault(given.call_id, []).append(given)
        return found

    def find_response(self, response_id: str) -> bytes | None:
        """Return the id of the newest call with a provider's response id, or None."""
        with storage_errors(self.path):
            return lookups.find_response(self._connection, response_id)

    def newest_in_session(self, project: str, before: bytes | None) -> list[InSession]:
        """Return the newest calls that have a session, newest first; see `lookups`."""
        with storage_errors(self.path), snapshot(self._connection):
            return lookups.newest_in_session(self._connection, project, before)

    def session_goes_on(self, row: SessionRow, before: bytes) -> bool:
        """Tell whether a session has a call here that is not older than `before`."""
        with storage_errors(self.path):
            return lookups.goes_on(self._connection, row, before)

    def count(self) -> int:
        """Return how many calls are stored here."""
        with storage_errors(self.path):
            return int(self._connection.execute("SELECT count(*) FROM calls").get)

    def rollup(self, cube: Cube, since_us: int, until_us: int) -> list[RollupRow]:
        """Return the stored rows of a cube, in the order of time, then of keys."""
        with storage_errors(self.path):
            return read_rollup(self._connection, cube, since_us, until_us)

    def read(self, how: Callable[[apsw.Connection, Names], _Read]) -> _Read:
        """Return what a function reads, on one snapshot."""
        with storage_errors(self.path), snapshot(self._connection):
            return how(self._connection, self._names)

    def recount(self, tally: Tally, cube: Cube) -> None:
        """Add what the calls themselves come to."""
        with storage_errors(self.path):
            tally.recount(self._connection, cube, self._names)

    def _displacement(self) -> int:
        """Return how far above its own place a call may stand."""
        return int(self._connection.execute("SELECT value FROM meta WHERE name = 'displacement'").get)

    def _payload(self, doc: int) -> Parts:
        try:
            return self._payloads.get(doc)
        except StorageError as error:
            raise StorageError(f"{self.path}: {error}") from error
