"""Reading day files of format 1: one payload a call, rows without names, words by place."""

# ruff: noqa: S608 - what is pasted into SQL here are our own names of columns; every value is bound

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from trimtab.storage.sqlite.connection import connect, storage_errors
from trimtab.storage.sqlite.packed.blocks import NOTHING
from trimtab.storage.sqlite.payload import PayloadCodec
from trimtab.storage.sqlite.rows import COLUMNS, FEEDBACK_COLUMNS, feedback_from_row, from_row
from trimtab.storage.sqlite.spans import SpanTable
from trimtab.storage.sqlite.upkeep import needs_scrub
from trimtab.types import Call, FeedbackGiven, StorageError

FORMAT = 1
_LATER = frozenset({"usage_more", "reported_cost_nusd"})
"""Columns that a file need not have yet."""


class Format1:
    """A file of format 1, open for the last time."""

    def __init__(self, connection: apsw.Connection, codec: PayloadCodec) -> None:
        self._connection = connection
        self._codec = codec

    def count(self) -> int:
        """Return how many calls it has."""
        return int(self._connection.execute("SELECT count(*) FROM calls").get)

    def calls(self) -> Iterator[Call]:
        """Yield all calls, oldest first; one whose payload is damaged comes without it."""
        rows = self._connection.execute(
            f"SELECT {self._columns()}, codec, body FROM calls LEFT JOIN payload USING (place) ORDER BY place"
        )
        for *row, codec, body in rows:
            parts = NOTHING
            if body is not None:
                with suppress(StorageError):  # the copy of the file still has what there is
                    parts = self._codec.unpack(codec, body)
            yield from_row(row, parts)

    def _columns(self) -> str:
        """Return what a call's row held then, in the order of `COLUMNS`; NULL for what it lacks."""
        missing = _LATER - {row[1] for row in self._connection.execute("PRAGMA table_info(calls)")}
        return ", ".join(
            "NULL" if column in missing else f"calls.{column}" for column in COLUMNS if column != "doc"
        )

    def feedback(self) -> Iterator[FeedbackGiven]:
        """Yield all feedback."""
        for row in self._connection.execute(f"SELECT {', '.join(FEEDBACK_COLUMNS)} FROM feedback"):
            yield feedback_from_row(row)

    def spans_into(self, table: SpanTable) -> None:
        """Copy its spans, their sums, and which traces were erased."""
        table.take_over(self._connection)

    def owes_scrub(self) -> bool:
        """Tell whether something was deleted of which traces may be left: an erasure was cut short."""
        return needs_scrub(self._connection)

    def settle(self) -> None:
        """Move everything out of the write-ahead log, so that the file is whole without it."""
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


@contextmanager
def opened(path: Path, codec: PayloadCodec) -> Iterator[Format1]:
    """Open a file of format 1.

    Raises:
        StorageError: it cannot be read, or is of another format.
    """
    connection = connect(path, formats=range(FORMAT, FORMAT + 1))
    try:
        with storage_errors(path):
            yield Format1(connection, codec)
    finally:
        connection.close()
