"""A bounded table of replies by key, shared by processes; written by a thread of its own."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from trimtab.storage.sqlite.connection import connect, create_file, storage_errors, transaction
from trimtab.types import StorageError

FORMAT: Final = 2

_WAITING: Final = 256
"""Entries that may wait to be written; beyond it new ones are left out: a cache may forget."""
_SPARE: Final = 0.1
"""Share of the bound that is freed at once where it is reached, so that it is not reached at every write."""
_LEAST_ENTRIES: Final = 8
"""So many of the largest that is kept must fit into the bound."""
_LEAST_BYTES: Final = 1024 * 1024
"""Smallest bound: the tables themselves take some pages."""

_Entry = tuple[bytes, bytes, int, int]
"""Key, reply, when it expires, when its call began."""


class SqliteReplyCache:
    """Replies by key in one file. `get`, `put` and `close` are called by one thread; any process may have it open."""

    def __init__(self, path: Path, max_bytes: Callable[[], int]) -> None:
        """Prepare; the file is opened when it is first needed, made where it is missing, replaced where it is damaged.

        Args:
            path: the file, mode 0600; its folder exists.
            max_bytes: says what it may take on disk, besides its write-ahead log (4 MB); at least 1 MiB.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._reading: apsw.Connection | None = None
        self._waiting: deque[_Entry] = deque()
        self._work = threading.Condition()
        self._stopping = False
        self._writer: threading.Thread | None = None

    def get(self, key: bytes, now_us: int) -> bytes | None:
        """Return a key's reply, or None where there is none that has not expired. About 10 µs.

        A file that cannot be read has no replies.
        """
        try:
            if self._reading is None:
                if not self._path.exists():
                    return None
                self._reading = _open_or_replace(self._path)
            row = self._reading.execute(
                "SELECT value FROM reply WHERE key = ? AND expires_us > ?", (key, now_us)
            ).fetchone()
        except (StorageError, apsw.Error):
            return None
        return row[0] if row is not None else None

    def put(self, key: bytes, value: bytes, expires_us: int, began_us: int) -> None:
        """Keep a reply in place of the key's present one. Returns at once; left out where too much waits already.

        Left out too where its call began before replies were cleared: whoever cleared them did not mean to keep it.
        """
        with self._work:
            if len(self._waiting) >= _WAITING or self._stopping:
                return
            self._waiting.append((key, value, expires_us, began_us))
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="reply-cache", daemon=True)
                self._writer.start()
            self._work.notify()

    def close(self) -> None:
        """Write what waits, and close the file."""
        with self._work:
            self._stopping = True
            self._work.notify()
        if self._writer is not None:
            self._writer.join()
        if self._reading is not None:
            self._reading.close()

    def _write(self) -> None:
        """Write entries as they come; a disk that refuses loses them, and nothing else."""
        connection: apsw.Connection | None = None
        try:
            while True:
                with self._work:
                    while not self._waiting and not self._stopping:
                        self._work.wait()
                    entries = list(self._waiting)
                    self._waiting.clear()
                if not entries:
                    return
                with contextlib.suppress(StorageError, apsw.Error):
                    if connection is None:
                        connection = _open_or_replace(self._path)
                    _store(connection, entries, max(_LEAST_BYTES, self._max_bytes()))
        finally:
            if connection is not None:
                connection.close()


def clear(path: Path, now_us: int) -> int:
    """Remove every reply from the file, so that no byte of any is left in it; return how many there were.

    Processes that have it open go on with an empty one, and keep nothing of calls that are under way.

    Raises:
        StorageError: the file cannot be opened or written.
    """
    connection = _open_or_replace(path)
    with contextlib.closing(connection), storage_errors(path):
        with transaction(connection):
            connection.execute("DELETE FROM reply")
            removed = connection.changes()
            connection.execute("DELETE FROM cleared")
            connection.execute("INSERT INTO cleared (at_us) VALUES (?)", (now_us,))
        # `secure_delete` wipes rows, not what pages held between them before.
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return removed


def figures(path: Path, now_us: int) -> tuple[int, int]:
    """Return how many replies have not expired, and the bytes that the file takes on disk.

    Raises:
        StorageError: the file cannot be opened or read.
    """
    if not path.exists():
        return 0, 0
    with contextlib.closing(_open(path)) as connection, storage_errors(path):
        row = connection.execute("SELECT count(*) FROM reply WHERE expires_us > ?", (now_us,)).fetchone()
        assert row is not None, "a count has a row"
        return int(row[0]), _used(connection)


def _open_or_replace(path: Path) -> apsw.Connection:
    try:
        return _open(path)
    except StorageError:
        _remove(path)
        return _open(path)


def _open(path: Path) -> apsw.Connection:
    with storage_errors(path), contextlib.suppress(FileExistsError):
        create_file(path)
    # Nothing in it is worth a wait for the disk: after a power cut it may be damaged, and is made anew.
    connection = connect(path, formats=range(FORMAT + 1), synchronous="OFF")
    with storage_errors(path):
        try:
            if connection.pragma("user_version") != FORMAT:
                _make(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _make(connection: apsw.Connection) -> None:
    with transaction(connection):  # another process may have been first
        connection.execute(
            "CREATE TABLE IF NOT EXISTS reply ("
            "number INTEGER PRIMARY KEY, key BLOB NOT NULL, expires_us INTEGER NOT NULL, value BLOB NOT NULL)"
        )
        connection.execute("CREATE UNIQUE INDEX IF NOT EXISTS reply_key ON reply (key)")
        connection.execute("CREATE TABLE IF NOT EXISTS cleared (at_us INTEGER NOT NULL)")
        connection.pragma("user_version", FORMAT)


def _store(connection: apsw.Connection, entries: list[_Entry], max_bytes: int) -> None:
    with transaction(connection):
        row = connection.execute("SELECT max(at_us) FROM cleared").fetchone()
        cleared_us = row[0] if row is not None and row[0] is not None else -1
        for key, value, expires_us, began_us in entries:
            if len(value) * _LEAST_ENTRIES > max_bytes or began_us <= cleared_us:
                continue
            connection.execute(
                "INSERT OR REPLACE INTO reply (key, expires_us, value) VALUES (?, ?, ?)",
                (key, expires_us, value),
            )
        while (over := _used(connection) - max_bytes) > 0:
            connection.execute(
                "DELETE FROM reply WHERE number IN (SELECT number FROM reply ORDER BY number LIMIT ?)",
                (max(1, _oldest(connection, over + int(max_bytes * _SPARE))),),
            )
            if not connection.changes():
                break


def _oldest(connection: apsw.Connection, size: int) -> int:
    """Return how many of the oldest replies take `size` bytes together, by the mean."""
    row = connection.execute("SELECT count(*) FROM reply").fetchone()
    assert row is not None, "a count has a row"
    used = max(1, _used(connection))
    return -(-int(row[0]) * size // used)


def _used(connection: apsw.Connection) -> int:
    """Return the bytes of the file's pages that hold something."""
    pages = int(connection.pragma("page_count")) - int(connection.pragma("freelist_count"))
    return pages * int(connection.pragma("page_size"))


def _remove(path: Path) -> None:
    with storage_errors(path):
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
