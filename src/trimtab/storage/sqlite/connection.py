"""Opening SQLite files: private, in WAL mode, of a format we know; and apsw's errors as ours."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import apsw

from trimtab.types import FormatTooNew, StorageError

BUSY_MS = 10_000
"""How long to wait for another process's lock; in WAL mode a reader waits for recovery only."""

CACHE_KIB = 4096


def make_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter; one that exists is left as it is."""
    with storage_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def create_file(path: Path) -> None:
    """Create an empty file that only its owner may read, so that SQLite never makes one by its own mode.

    Raises:
        FileExistsError: it is there already.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def connect(
    path: Path,
    *,
    formats: range,
    read_only: bool = False,
    at_rest: bool = False,
    synchronous: Literal["OFF", "NORMAL", "FULL"] = "NORMAL",
) -> apsw.Connection:
    """Open an existing database file; nothing is written to one that is not ours.

    Args:
        path: the file.
        formats: the format numbers (PRAGMA user_version) we know; 0 is a database without any tables of ours.
        read_only: whether to open it for reading only, beside its writer.
        at_rest: whether to leave no file beside it, not even for the moment; for reading only, and wrong where
            somebody writes.
        synchronous: OFF never syncs, NORMAL at checkpoints, FULL at every commit.

    Raises:
        FormatTooNew: its format is beyond `formats`.
        StorageError: it is not there, not of ours, damaged, or cannot be opened.
    """
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    name = str(path)
    if at_rest:
        flags |= apsw.SQLITE_OPEN_URI
        name = f"{path.absolute().as_uri()}?immutable=1"
    with storage_errors(path):
        connection = apsw.Connection(name, flags=flags)
        try:
            connection.set_busy_timeout(BUSY_MS)
            connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
            connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            connection.pragma("cache_size", -CACHE_KIB)
            connection.pragma("temp_store", 2)  # in memory: nothing of a call in a stray file
            check_format(connection, path, formats)
            if not read_only:
                connection.pragma("journal_mode", "wal")
                connection.pragma("synchronous", synchronous)
                connection.pragma(
                    "secure_delete", 1
                )  # measured: free; without it, erasing would rewrite files
                connection.pragma("fullfsync", 1)  # macOS: fsync alone leaves data in the drive's cache
        except BaseException:
            connection.close()
            raise
    return connection


def format_at(path: Path, formats: range) -> int:
    """Return a file's format; leaves nothing beside it.

    Raises:
        FormatTooNew: its format is beyond `formats`.
        StorageError: it cannot be read, or is none of ours.
    """
    # Whoever writes a file has its write-ahead log beside it; without one, looking must not make one.
    at_rest = not Path(f"{path}-wal").exists()
    connection = connect(path, formats=formats, read_only=True, at_rest=at_rest)
    try:
        with storage_errors(path):
            return int(connection.pragma("user_version"))
    finally:
        connection.close()


def check_format(connection: apsw.Connection, path: Path, formats: range) -> int:
    """Return the file's format number.

    Raises:
        FormatTooNew: it is beyond `formats`.
        StorageError: it is below them: of an earlier format, or none of ours.
    """
    found = int(connection.pragma("user_version"))
    if found >= formats.stop:
        raise FormatTooNew(
            f"{path} has format {found}, and this Trimtab knows formats up to {formats.stop - 1}: a newer "
            "Trimtab wrote it. Install that version again, or restore the backup made before the upgrade."
        )
    if 0 < found < formats.start:
        raise StorageError(
            f"{path} has format {found}, of an earlier Trimtab; stop what runs, and convert it by `trimtab migrate`"
        )
    if found < formats.start:
        raise StorageError(f"{path} is no file of Trimtab's kind; move it out of the folder")
    return found


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into `StorageError`, naming the file and what to do."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise StorageError(
            f"{path} is damaged: {error}. Restore it from a backup, or move it away to start a new one."
        ) from error
    except apsw.FullError as error:
        raise StorageError(
            f"{path} cannot grow: the disk is full. Free space, or lower the retention."
        ) from error
    except apsw.CantOpenError as error:
        raise StorageError(
            f"{path} cannot be opened: {error}. Check that it exists and that this user may read it."
        ) from error
    except (apsw.Error, OSError) as error:
        raise StorageError(f"{path} could not be read or written: {error}") from error


@contextlib.contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Run the block in one write transaction; any exception undoes it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # An I/O error may have rolled back already; a second ROLLBACK would hide the first error.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def snapshot(connection: apsw.Connection) -> Iterator[None]:
    """Run the block's reads on one state of the file, whatever a writer commits meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def disk_bytes(path: Path) -> int:
    """Return the bytes of a database on disk, its log included; 0 where it has gone meanwhile."""
    size = 0
    for suffix in ("", "-wal", "-shm"):
        with storage_errors(path), contextlib.suppress(FileNotFoundError):
            size += Path(f"{path}{suffix}").stat().st_size
    return size
