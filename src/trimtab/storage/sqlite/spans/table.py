"""The tables of spans in one day file."""

# ruff: noqa: S608 - what is pasted into SQL here are our own names of columns; every value is bound

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from trimtab.storage.sqlite.connection import storage_errors, transaction
from trimtab.storage.sqlite.payload import CODEC, PayloadCodec
from trimtab.storage.sqlite.upkeep import note_deletion
from trimtab.types import SpanEnded, parse_trace_parent

_TABLES = """
CREATE TABLE IF NOT EXISTS span (
    trace_id BLOB NOT NULL,
    span_id BLOB NOT NULL,
    parent_id BLOB NOT NULL,
    name TEXT NOT NULL,
    project TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    took_us INTEGER NOT NULL,
    error TEXT NOT NULL,
    key TEXT NOT NULL,
    codec INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS span_project ON span (project) WHERE project <> 'default';
CREATE TABLE IF NOT EXISTS trace (
    trace_id BLOB NOT NULL,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    named_until_us INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    ended_us INTEGER NOT NULL,
    spans INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    PRIMARY KEY (trace_id, project)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS trace_started ON trace (started_us);
CREATE INDEX IF NOT EXISTS trace_project ON trace (project, started_us) WHERE project <> 'default';
CREATE TABLE IF NOT EXISTS trace_call (
    trace_id BLOB NOT NULL, call_id BLOB NOT NULL, PRIMARY KEY (trace_id, call_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased_trace (trace_id BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID;
"""
# named_until_us: the end of the span that gives the trace its name. erased_trace: a random number each, that tells
# nothing of anybody, kept for as long as the day is; spans of such a trace that come later are not taken.

_COLUMNS = "trace_id, span_id, parent_id, name, project, started_us, took_us, error, key, codec, body"
_INSERT = (
    f"INSERT OR IGNORE INTO span ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "RETURNING trace_id, span_id"
)
_SUMS = "started_us, trace_id, project, name, named_until_us, ended_us, spans, errors"
_NAMES = (
    "(excluded.started_us, -excluded.named_until_us, excluded.name) < (started_us, -named_until_us, name)"
)
_ADD = f"""
INSERT INTO trace ({_SUMS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    name = CASE WHEN {_NAMES} THEN excluded.name ELSE name END,
    named_until_us = CASE WHEN {_NAMES} THEN excluded.named_until_us ELSE named_until_us END,
    started_us = min(started_us, excluded.started_us),
    ended_us = max(ended_us, excluded.ended_us),
    spans = spans + excluded.spans,
    errors = errors + excluded.errors
"""
_NO_BODY = 0
"""Codec of a body that is not there."""


class Sums(NamedTuple):
    """What one file has of a trace of one project."""

    started_us: int
    trace: bytes
    project: str
    name: str
    named_until_us: int
    ended_us: int
    spans: int
    errors: int

    @property
    def place(self) -> tuple[int, bytes, str]:
        """What the list of traces is sorted by, downwards."""
        return self[:3]

    def plus(self, other: "Sums") -> "Sums":
        """Return both together."""
        first = min(self, other, key=lambda one: (one.started_us, -one.named_until_us, one.name))
        return first._replace(
            ended_us=max(self.ended_us, other.ended_us),
            spans=self.spans + other.spans,
            errors=self.errors + other.errors,
        )


def create_tables(connection: apsw.Connection) -> None:
    """Make the tables that are not there yet."""
    connection.execute(_TABLES)


def forget_calls(connection: apsw.Connection, calls: Iterable[tuple[str, bytes]]) -> None:
    """Note that calls are gone: (trace parent, id) of each."""
    connection.executemany("DELETE FROM trace_call WHERE trace_id = ? AND call_id = ?", _traced(calls))


_TAKEN_OVER = {"span": _COLUMNS, "trace": _SUMS, "erased_trace": "trace_id"}
"""What a file's successor takes of it, by table: which calls were made in which trace, its own calls tell."""


class SpanTable:
    """The spans of an open day file. Its methods raise `StorageError`; not for two threads at once."""

    def __init__(self, connection: Callable[[], apsw.Connection], path: Path, codec: PayloadCodec) -> None:
        """Take the file's connection, asked for anew each time: scrubbing opens another."""
        self._connection = connection
        self._path = path
        self._codec = codec
        self._there = False

    def there(self) -> bool:
        """Tell whether the file has the tables; one of an earlier version has not, until it is written to."""
        if not self._there:
            with storage_errors(self._path):
                self._there = _has_tables(self._connection())
        return self._there

    # Writing

    def create(self) -> bool:
        """Make the tables where they are missing, and note the traces of the calls; 1 s a million calls."""
        if self.there():
            return False
        connection = self._connection()
        with storage_errors(self._path), transaction(connection):
            create_tables(connection)
            calls: list[Any] = connection.execute(
                "SELECT trace_parent, id FROM calls WHERE trace_parent <> ''"
            ).fetchall()
            self.note_calls(calls)
        return True

    def note_calls(self, calls: Iterable[tuple[str, bytes]]) -> None:
        """Note which trace calls were made in, by (trace parent, id), in the caller's transaction."""
        self._connection().executemany(
            "INSERT OR IGNORE INTO trace_call (trace_id, call_id) VALUES (?, ?)", _traced(calls)
        )

    def insert(self, spans: Sequence[SpanEnded]) -> int:
        """Store what is not there yet, in one transaction; return how many were new."""
        self.create()
        connection = self._connection()
        by_key: dict[tuple[bytes, bytes], SpanEnded] = {}
        for span in spans:
            by_key.setdefault(key_of(span), span)
        with storage_errors(self._path), transaction(connection):
            rows = (self._row(key, span) for key, span in by_key.items())
            new: list[Any] = connection.executemany(_INSERT, rows).fetchall()
            sums: dict[tuple[bytes, str], Sums] = {}
            for key in new:
                one = _sums_of(key[0], by_key[key])
                at = (one.trace, one.project)
                sums[at] = sums[at].plus(one) if at in sums else one
            connection.executemany(_ADD, sums.values())
        return len(new)

    def take_over(self, earlier: apsw.Connection) -> None:
        """Copy all spans as they stand in this file's predecessor, in one transaction."""
        self.create()
        connection = self._connection()
        with storage_errors(self._path), transaction(connection):
            for table, columns in _TAKEN_OVER.items() if _has_tables(earlier) else ():
                marks = ", ".join("?" * (columns.count(",") + 1))
                connection.executemany(
                    f"INSERT INTO {table} ({columns}) VALUES ({marks})",
                    earlier.execute(f"SELECT {columns} FROM {table}"),
                )

    def note_erased(self, traces: Iterable[bytes]) -> None:
        """Note that calls of these traces are erased: no late span of theirs is to be taken."""
        connection = self._connection()
        with storage_errors(self._path), transaction(connection):
            connection.executemany("INSERT OR IGNORE INTO erased_trace VALUES (?)", ((t,) for t in traces))

    def erase_traces(self, traces: Iterable[bytes]) -> int:
        """Delete traces' spans, in one transaction; return how many there were."""
        return self._erase("trace_id", traces)

    def erase_project(self, project: str) -> int:
        """Delete a project's spans, in one transaction; return how many there were."""
        # The second term proves to SQLite that the partial index holds every match.
        other = "" if project == "default" else " AND project <> 'default'"
        return self._erase("project", (project,), other)

    def _erase(self, column: str, values: Iterable[bytes | str], also: str = "") -> int:
        if not self.there():
            return 0
        connection = self._connection()
        gone = 0
        with storage_errors(self._path), transaction(connection):
            for value in values:
                connection.execute(f"DELETE FROM span WHERE {column} = ?{also}", (value,))
                gone += connection.changes()
                connection.execute(f"DELETE FROM trace WHERE {column} = ?{also}", (value,))
            if gone:
                note_deletion(connection)
        return gone

    # Reading

    def known(self, keys: Iterable[tuple[bytes, bytes]]) -> set[tuple[bytes, bytes]]:
        """Return those of some spans that are stored here."""
        found = self._all("SELECT trace_id, span_id FROM span WHERE trace_id = ? AND span_id = ?", keys)
        return set(found)

    def erased(self, traces: Iterable[bytes]) -> set[bytes]:
        """Return those of some traces that late spans are not taken of."""
        found = self._all("SELECT trace_id FROM erased_trace WHERE trace_id = ?", ((t,) for t in traces))
        return {trace for (trace,) in found}

    def of_trace(self, trace: bytes, limit: int) -> list[SpanEnded]:
        """Return the spans of a trace that started first, in that order."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM span WHERE trace_id = ? ORDER BY started_us, span_id LIMIT ?",
            (trace, limit),
        )
        return [self._span(row) for row in rows]

    def calls_of_trace(self, trace: bytes, limit: int) -> list[bytes]:
        """Return the ids of the oldest calls of a trace, in order."""
        rows = self._rows(
            "SELECT call_id FROM trace_call WHERE trace_id = ? ORDER BY call_id LIMIT ?", (trace, limit)
        )
        return [row[0] for row in rows]

    def counts(self, trace: bytes) -> tuple[int, int]:
        """Return how many spans and calls of a trace are stored here."""
        rows = self._rows(
            "SELECT (SELECT coalesce(sum(spans), 0) FROM trace WHERE trace_id = ?1), "
            "(SELECT count(*) FROM trace_call WHERE trace_id = ?1)",
            (trace,),
        )
        return rows[0] if rows else (0, 0)

    def sums(self, trace: bytes, project: str) -> Sums | None:
        """Return what is here of a trace of a project; None: nothing."""
        rows = self._rows(f"SELECT {_SUMS} FROM trace WHERE trace_id = ? AND project = ?", (trace, project))
        return Sums(*rows[0]) if rows else None

    def newest(self, project: str, before: tuple[int, bytes, str] | None, limit: int) -> list[Sums]:
        """Return the newest traces, of one project or of all, that stand below a place; newest first."""
        where = ["1"]
        values: list[int | bytes | str] = []
        if project:
            where.append("project = ?" + ("" if project == "default" else " AND project <> 'default'"))
            values.append(project)
        if before is not None:
            where.append("started_us <= ? AND (started_us, trace_id, project) < (?, ?, ?)")
            values += [before[0], *before]
        rows = self._rows(
            f"SELECT {_SUMS} FROM trace WHERE {' AND '.join(where)} "
            "ORDER BY started_us DESC, trace_id DESC, project DESC LIMIT ?",
            (*values, limit),
        )
        return [Sums(*row) for row in rows]

    def page(self, after: tuple[bytes, bytes], limit: int) -> list[SpanEnded]:
        """Return spans in the order of their ids, from after one on."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM span WHERE (trace_id, span_id) > (?, ?) "
            "ORDER BY trace_id, span_id LIMIT ?",
            (*after, limit),
        )
        return [self._span(row) for row in rows]

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        if not self.there():
            return []
        with storage_errors(self._path):
            rows: list[Any] = self._connection().execute(sql, values).fetchall()
        return rows

    def _all(self, sql: str, values: Iterable[tuple[Any, ...]]) -> list[Any]:
        if not self.there():
            return []
        with storage_errors(self._path):
            rows: list[Any] = self._connection().executemany(sql, values).fetchall()
        return rows

    def _row(self, key: tuple[bytes, bytes], span: SpanEnded) -> tuple[Any, ...]:
        has = bool(span.attributes)
        return (
            *key,
            bytes.fromhex(span.parent_id),
            span.name,
            span.project,
            span.started_us,
            span.ended_us - span.started_us,
            span.error,
            span.key,
            CODEC if has else _NO_BODY,
            self._codec.pack((span.attributes, b"", b"")) if has else b"",
        )

    def _span(self, row: Sequence[Any]) -> SpanEnded:
        trace, span, parent, name, project, started_us, took_us, error, key, codec, body = row
        with storage_errors(self._path):
            attributes = self._codec.unpack(codec, body)[0] if codec != _NO_BODY else b""
        ids = (trace.hex(), span.hex(), parent.hex())
        return SpanEnded(*ids, name, project, started_us, started_us + took_us, error, attributes, key)


def key_of(span: SpanEnded) -> tuple[bytes, bytes]:
    """Return what names a span, as it is stored.

    Raises:
        ValueError: an id is not hexadecimal, or of another length.
    """
    trace, own, parent = map(bytes.fromhex, (span.trace_id, span.span_id, span.parent_id))
    if (len(trace), len(own)) != (16, 8) or len(parent) not in (0, 8):
        raise ValueError(f"span {span.id!r} must have ids of 32 and 16 hex digits")
    return trace, own


def _has_tables(connection: apsw.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'span'").get is not None


def _sums_of(trace: bytes, span: SpanEnded) -> Sums:
    return Sums(
        span.started_us,
        trace,
        span.project,
        span.name,
        span.ended_us,
        span.ended_us,
        1,
        int(bool(span.error)),
    )


def _traced(calls: Iterable[tuple[str, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for trace_parent, call_id in calls:
        parsed = parse_trace_parent(trace_parent)
        if parsed is not None:
            yield bytes.fromhex(parsed[0]), call_id
