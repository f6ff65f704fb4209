"""Bringing day files of an earlier version up to date, and clearing what deleted calls leave behind in one."""

import apsw

from trimtab.storage.ports import Cube
from trimtab.types import StorageError

from .connection import transaction
from .rollups import CUBES, Tally
from .rows import ADDED
from .schema import create_lookups

_MERGE_PAGES = 2000
"""Of the word index, merged in one transaction: bounds what the write-ahead log holds meanwhile."""

_ADDED_CUBE: Cube = "minute_project"


def is_complete(connection: apsw.Connection) -> bool:
    """Tell whether the file has all indexes and cubes; one of 0.1 has not."""
    return _meta(connection, "complete") == 1


def complete(connection: apsw.Connection) -> bool:
    """Add what a file of 0.1 lacks, in one transaction; return whether anything was. 8 s a million calls."""
    if is_complete(connection):
        return False
    with transaction(connection):
        create_lookups(connection)
        tally = Tally()
        connection.execute("DELETE FROM rollup WHERE cube = ?", (CUBES.index(_ADDED_CUBE),))
        tally.recount(connection, _ADDED_CUBE)
        tally.write(connection)
        _set_meta(connection, "complete", 1)
    return True


def missing_columns(connection: apsw.Connection) -> frozenset[str]:
    """Return which columns of `rows.ADDED` the file lacks: it was made by an earlier version."""
    there = {row[1] for row in connection.execute("PRAGMA table_info(calls)")}
    return frozenset(ADDED) - there


def add_columns(connection: apsw.Connection) -> None:
    """Add the columns that the file lacks; no row is rewritten for it."""
    for name in sorted(missing_columns(connection)):
        connection.execute(f"ALTER TABLE calls ADD COLUMN {name} {ADDED[name]}")


def note_deletion(connection: apsw.Connection) -> None:
    """Note, in the caller's transaction, that scrubbing has to follow, even if this process dies first."""
    _set_meta(connection, "erasing", 1)


def needs_scrub(connection: apsw.Connection) -> bool:
    """Tell whether something was deleted whose traces may be left."""
    return _meta(connection, "erasing") == 1


def clear_traces(connection: apsw.Connection) -> None:
    """Leave nothing of what was deleted in any row or free page, and nothing at all in the write-ahead log.

    Deleted rows are overwritten as they go; but the word index only notes which calls are gone, until it is
    merged anew, and the write-ahead log keeps old pages until it is cut. Costs a rewrite of the file's word
    index, about a second per 100,000 calls; a file of 0.1 is rewritten whole, once.
    What SQLite moved about within pages is left to `gaps.wipe_gaps`, and then `scrubbed` is to be told.

    Raises:
        StorageError: a reader holds on to the old state; nothing is lost, call it again.
    """
    pages = -_MERGE_PAGES  # negative: whatever the segments' levels, start to merge them all into one
    while True:
        before = connection.total_changes()
        connection.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (pages,))
        if connection.total_changes() - before < 2:  # https://sqlite.org/fts5.html#the_merge_command
            break
        pages = _MERGE_PAGES
    if _meta(connection, "clean") != 1:
        _rewrite(connection)
    _cut_log(connection)


def scrubbed(connection: apsw.Connection) -> None:
    """Note that no trace is left."""
    _set_meta(connection, "erasing", 0)


def _rewrite(connection: apsw.Connection) -> None:
    connection.pragma("temp_store", 1)  # a file of its own, for a day does not fit in memory
    try:
        connection.execute("VACUUM")
    finally:
        connection.pragma("temp_store", 2)
    _set_meta(connection, "clean", 1)


def _cut_log(connection: apsw.Connection) -> None:
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError as error:
        raise StorageError(
            f"{connection.filename} is being read, so its write-ahead log cannot be emptied; try again"
        ) from error


def _meta(connection: apsw.Connection, name: str) -> int:
    value = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).get
    return 0 if value is None else int(value)


def _set_meta(connection: apsw.Connection, name: str, value: int) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
