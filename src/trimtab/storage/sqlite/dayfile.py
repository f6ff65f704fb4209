"""One day file, open: its calls, payloads, words, feedback and rollups."""

# ruff: noqa: S608 - what is pasted into SQL here are our own names of columns; every value is bound

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from trimtab.storage.days import place_of
from trimtab.storage.ports import BillQuery, BillRow, Cube, SessionRow
from trimtab.storage.text import call_text
from trimtab.storage.words import index_text
from trimtab.types import Call, FeedbackGiven, StorageError

from . import billing, lookups, upkeep
from .connection import connect, snapshot, storage_errors, transaction
from .erase import Condition, erase_calls, erase_feedback
from .gaps import wipe_gaps
from .lookups import InSession
from .payload import CODEC, Parts, PayloadCodec
from .rollups import Tally, facts_of
from .rows import COLUMNS, FEEDBACK_COLUMNS, feedback_from_row, feedback_row, from_row, to_row
from .schema import DAY_FORMATS
from .search import Search

_INSERT = (
    f"INSERT OR IGNORE INTO calls ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    "RETURNING id, place"
)
_FEEDBACK = f"SELECT {', '.join(FEEDBACK_COLUMNS)} FROM feedback"
_NOTHING: Parts = (b"", b"", b"")
_CHUNK = 500
"""Values in one IN list; SQLite's own bound is 32,766."""


class DayFile:
    """An open day file. Its methods raise `StorageError`; not for two threads at once."""

    def __init__(self, path: Path, day: int, codec: PayloadCodec, *, read_only: bool) -> None:
        self.path = path
        self.day = day
        self.dirty = False
        with storage_errors(path):
            self.inode = path.stat().st_ino
        self._codec = codec
        self._complete = False
        self._connection = connect(path, formats=DAY_FORMATS, read_only=read_only)
        with storage_errors(path):
            self._missing = upkeep.missing_columns(self._connection)

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
        self.complete()
        with storage_errors(self.path), transaction(self._connection):
            self.dirty = True
            places = dict(
                self._connection.executemany(
                    _INSERT, (to_row(call, blob, place_of(blob)) for blob, call in batch.items())
                )
            )
            tally = Tally()
            left = (
                {blob: call for blob, call in batch.items() if blob not in places}
                if len(places) < len(batch)
                else {}
            )
            if left:
                present = self._upgrade(left, tally)
                displaced = {blob: call for blob, call in left.items() if blob not in present}
                places.update((blob, self._displace(call, blob)) for blob, call in displaced.items())
            self._store_rest([(place, batch[blob], blob) for blob, place in places.items()], tally)
            tally.write(self._connection)
            return len(places)

    def absorb(self, batch: dict[bytes, Call]) -> dict[bytes, Call]:
        """Let late ends into the calls that this file has already, and return the other calls."""
        with storage_errors(self.path):
            present = {row[0] for row in self._present(batch)}
            if not present:
                return batch
            self.complete()
            self.dirty = True
            with transaction(self._connection):
                tally = Tally()
                self._upgrade({blob: batch[blob] for blob in present}, tally)
                tally.write(self._connection)
            return {blob: call for blob, call in batch.items() if blob not in present}

    def _present(self, blobs: Iterable[bytes]) -> list[tuple[bytes, int, int]]:
        """Return (id, place, whether it is unfinished) of those ids that are stored."""
        found: list[Any] = self._connection.executemany(
            "SELECT id, place, closed_us IS NULL FROM calls WHERE id = ?", ((blob,) for blob in blobs)
        ).fetchall()
        return found

    def _upgrade(self, batch: dict[bytes, Call], tally: Tally) -> set[bytes]:
        """Let unfinished rows give way to late ends; return the ids that are stored already."""
        present = self._present(batch)
        late = [
            (place, batch[blob], blob) for blob, place, is_open in present if is_open and batch[blob].closed
        ]
        for place, call, blob in late:
            self._forget(place, tally)
            self._connection.execute(_INSERT, to_row(call, blob, place))
        self._store_rest(late, tally)
        return {row[0] for row in present}

    def _forget(self, place: int, tally: Tally) -> None:
        """Take an unfinished call out, so that its finished self can be stored in its place."""
        row = self._connection.execute(self._select() + " WHERE place = ?", (place,)).get
        old = from_row(row, _NOTHING, ())
        if old.opened.purpose == "live":
            tally.take_back(facts_of(old, row[1]))
        if self._connection.execute("DELETE FROM pending WHERE place = ? RETURNING 1", (place,)).get is None:
            self._connection.execute("DELETE FROM words WHERE rowid = ?", (place,))
        for table in ("tag", "payload", "calls"):
            self._connection.execute(f"DELETE FROM {table} WHERE place = ?", (place,))

    def _displace(self, call: Call, blob: bytes) -> int:
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
        self._connection.execute(_INSERT, to_row(call, blob, place))
        return place

    def _store_rest(self, stored: list[tuple[int, Call, bytes]], tally: Tally) -> None:
        """Store payloads and tags of calls just inserted, note what is to be indexed, and count them."""
        payloads: list[tuple[int, int, bytes]] = []
        pending: list[tuple[int, bool]] = []
        tags: list[tuple[str, int]] = []
        for place, call, blob in stored:
            o = call.opened
            response = call.closed.response if call.closed else b""
            if o.request or response or o.variables:
                payloads.append((place, CODEC, self._codec.pack((o.request, response, o.variables))))
                if o.payload in ("full", "masked"):
                    pending.append((place, o.kind == "embeddings"))
            tags.extend((name, place) for name in o.tags)
            if o.purpose == "live":
                tally.add(facts_of(call, blob))
        run = self._connection.executemany
        run("INSERT INTO payload (place, codec, body) VALUES (?, ?, ?)", payloads)
        run("INSERT INTO pending (place, embeddings) VALUES (?, ?)", pending)
        if tags:
            run("INSERT OR IGNORE INTO tag (name, place) VALUES (?, ?)", tags)

    def has_feedback(self, feedback_id: str) -> bool:
        """Return whether feedback of that id is stored here."""
        with storage_errors(self.path):
            return (
                self._connection.execute("SELECT 1 FROM feedback WHERE id = ?", (feedback_id,)).get
                is not None
            )

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
            run = self._connection.execute
            last = run(
                "SELECT max(place) FROM (SELECT place FROM pending ORDER BY place LIMIT ?)", (limit,)
            ).get
            if last is None:
                return 0
            self.dirty = True
            self._connection.executemany("INSERT INTO words (rowid, body) VALUES (?, ?)", self._texts(last))
            run("DELETE FROM pending WHERE place <= ?", (last,))
            return self._connection.changes()

    def _texts(self, last: int) -> Iterator[tuple[int, str]]:
        """Yield the words of waiting calls one by one: a thousand long prompts at once would not fit."""
        rows = self._connection.execute(
            "SELECT place, embeddings, codec, body FROM pending JOIN payload USING (place) WHERE place <= ? "
            "ORDER BY place",
            (last,),
        )
        for place, embeddings, codec, body in rows:
            try:
                request, response, _ = self._codec.unpack(codec, body)
            except StorageError:
                continue  # `get` says so to whoever asks for this call; the others must not wait for it
            text = index_text(call_text(request, b"" if embeddings else response))
            if text:
                yield place, text

    def complete(self) -> bool:
        """Add the indexes and cubes that a file of 0.1 lacks; return whether any were missing."""
        if self._complete:
            return False
        with storage_errors(self.path):
            added = upkeep.complete(self._connection)
            upkeep.add_columns(self._connection)
        self._complete = True
        self._missing = frozenset()
        return added

    def erase(self, condition: Condition) -> Iterator[bytes]:
        """Delete matching calls with all that hangs on them; yield the ids of those that are gone."""
        self.complete()
        with storage_errors(self.path):
            self.dirty = True
            yield from erase_calls(self._connection, condition)

    def erase_feedback(self, on_calls: Sequence[bytes], condition: Condition | None) -> None:
        """Delete feedback on some calls, and what matches a condition."""
        with storage_errors(self.path):
            self.dirty = True
            erase_feedback(self._connection, on_calls, condition)

    def scrub(self) -> None:
        """Leave no byte of what was deleted in the file or its write-ahead log; nothing to do without deletions.

        Raises:
            StorageError: a reader is in the way; nothing is lost, call it again.
        """
        with storage_errors(self.path):
            if not upkeep.needs_scrub(self._connection):
                return
            upkeep.clear_traces(self._connection)
            self._connection.close()  # with the pages it remembers, gaps and all
            try:
                wipe_gaps(self.path)
            finally:
                self._connection = connect(self.path, formats=DAY_FORMATS)
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

    def get(self, blob: bytes) -> Call | None:
        """Return a call with its payload, without feedback; or None."""
        with storage_errors(self.path), snapshot(self._connection):
            row = self._connection.execute(self._select() + " WHERE id = ?", (blob,)).get
            return None if row is None else from_row(row, self._payload(row[0]), ())

    def find(self, search: Search, limit: int, *, payload: bool) -> list[Call]:
        """Return the newest `limit` matching calls, without feedback, newest first."""
        with storage_errors(self.path), snapshot(self._connection):
            reach = self._displacement()
            rows: list[tuple[Any, ...]] = []
            for row in self._connection.execute(*search.statement(self.day, reach, self.columns("c."))):
                # A call may stand up to `reach` above its own place: only rows further down than that
                # are surely older than the last one of the page.
                if len(rows) >= limit and row[0] < rows[limit - 1][0] - reach:
                    break
                rows.append(row)
            rows.sort(key=lambda row: row[1], reverse=True)
            return [from_row(row, self._payload(row[0]) if payload else _NOTHING, ()) for row in rows[:limit]]

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
            return lookups.find_response(self._connection, response_id, indexed=self.is_complete())

    def newest_in_session(self, project: str, before: bytes | None) -> list[InSession]:
        """Return the newest calls that have a session, newest first; see `lookups`."""
        with storage_errors(self.path), snapshot(self._connection):
            indexed = self.is_complete()
            return lookups.newest_in_session(self._connection, project, before, indexed=indexed)

    def session_goes_on(self, row: SessionRow, before: bytes) -> bool:
        """Tell whether a session has a call here that is not older than `before`."""
        with storage_errors(self.path):
            return lookups.goes_on(self._connection, row, before)

    def is_complete(self) -> bool:
        """Tell whether the file has all indexes and cubes; its writer may just have added them."""
        if not self._complete:
            self._complete = upkeep.is_complete(self._connection)
        return self._complete

    def count(self) -> int:
        """Return how many calls are stored here."""
        with storage_errors(self.path):
            return int(self._connection.execute("SELECT count(*) FROM calls").get)

    def read_rollup(self, tally: Tally, cube: Cube, since_us: int, until_us: int) -> None:
        """Add the stored rollups of a cube."""
        with storage_errors(self.path):
            tally.read(self._connection, cube, since_us, until_us)

    def recount(self, tally: Tally, cube: Cube) -> None:
        """Add what the calls themselves come to; nothing where the file does not keep the cube."""
        with storage_errors(self.path):
            if cube == "minute_project" and not self.is_complete():
                return
            tally.recount(self._connection, cube)

    def bill(self, query: BillQuery) -> list[BillRow]:
        """Return sums over the calls of this file."""
        with storage_errors(self.path), snapshot(self._connection):
            self.columns()  # looks again for what an older file lacks
            reported = "NULL" if self._missing else "reported_cost_nusd"
            return billing.of_file(self._connection, query, reported)

    def columns(self, prefix: str = "") -> str:
        """Return what to select for a row in the order of `COLUMNS`; NULL for what an older file lacks."""
        if self._missing:  # its writer may just have added them
            self._missing = upkeep.missing_columns(self._connection)
        return ", ".join("NULL" if name in self._missing else f"{prefix}{name}" for name in COLUMNS)

    def _select(self) -> str:
        return f"SELECT {self.columns()} FROM calls"

    def _displacement(self) -> int:
        """Return how far above its own place a call may stand."""
        return int(self._connection.execute("SELECT value FROM meta WHERE name = 'displacement'").get)

    def _payload(self, place: int) -> Parts:
        row = self._connection.execute("SELECT codec, body FROM payload WHERE place = ?", (place,)).get
        if row is None:
            return _NOTHING
        try:
            return self._codec.unpack(*row)
        except StorageError as error:
            raise StorageError(f"{self.path}: {error}") from error
