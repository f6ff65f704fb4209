"""Clearing what deleted calls leave behind in a day file."""

import apsw

from trimtab.types import StorageError

from .packed.names import Names

_MERGE_PAGES = 2000
"""Of the word index, merged in one transaction: bounds what the write-ahead log holds meanwhile."""


def note_deletion(connection: apsw.Connection) -> None:
    """Note, in the caller's transaction, that scrubbing has to follow, even if this process dies first."""
    _set_meta(connection, "erasing", 1)


def needs_scrub(connection: apsw.Connection) -> bool:
    """Tell whether something was deleted whose traces may be left."""
    return _meta(connection, "erasing") == 1


def clear_traces(connection: apsw.Connection, names: Names) -> None:
    """Leave nothing of what was deleted in any row or free page, and nothing at all in the write-ahead log.

    Deleted rows are overwritten as they go; but the word index only notes which calls are gone, until it is
    merged anew, names stay until no call has them, and the write-ahead log keeps old pages until it is cut. Costs a
    rewrite of the file's word index and a scan of its calls, about half a second per 100,000 calls.
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
    names.drop_unused()
    _cut_log(connection)


def scrubbed(connection: apsw.Connection) -> None:
    """Note that no trace is left."""
    _set_meta(connection, "erasing", 0)


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
