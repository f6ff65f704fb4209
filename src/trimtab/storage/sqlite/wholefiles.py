"""Whole files: consistent copies of databases that others may be writing, and what an upgrade would change."""

from pathlib import Path
from typing import NamedTuple

import apsw

from trimtab.storage.atomic import sync_file
from trimtab.storage.days import parse_file_name
from trimtab.types import FormatTooNew, StorageError

from .app.migrations import MIGRATIONS
from .connection import connect, create_file, format_at, storage_errors
from .earlier import Told, earlier_files
from .schema import DAY_FORMAT, KNOWN_FORMATS

__all__ = ["FileStep", "Told", "check_formats", "copy_database", "is_day_file", "upgrade_steps"]

APP_FORMATS = range(len(MIGRATIONS) + 1)


class FileStep(NamedTuple):
    """What an upgrade does to one file."""

    path: Path
    what: str
    backed_up: bool
    """Whether a copy of the file as it was is made first."""


def is_day_file(name: str) -> bool:
    """Tell whether a file's name is that of a day file."""
    return parse_file_name(name) is not None


def copy_database(source: Path, target: Path) -> int:
    """Copy `app.db` or a day file as it stands at one moment, while its writer goes on; return its format.

    The pages are copied as they are, at the disk's speed; the copy is whole on disk when this returns.

    Args:
        source: the file.
        target: where the copy goes; nothing may be there.

    Raises:
        FileNotFoundError: the source is not there, or gone meanwhile: its day was dropped.
        FormatTooNew: a newer Trimtab wrote the source.
        StorageError: it cannot be read, or the copy not be written.
    """
    source.stat()
    reader = connect(source, formats=_formats_of(source), read_only=True)
    try:
        with storage_errors(target):
            create_file(target)
            copy = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                copy.pragma("synchronous", 0)  # synced as a whole below
                with copy.backup("main", reader, "main") as backup:
                    backup.step(-1)  # in one go, on one state; in pieces, every write would start it over
                version = int(copy.pragma("user_version"))
            finally:
                copy.close()
            for suffix in ("-wal", "-shm"):
                Path(f"{target}{suffix}").unlink(missing_ok=True)
            sync_file(target)
    finally:
        reader.close()
    return version


def check_formats(app: int, days: int) -> None:
    """Refuse formats that this version does not know.

    Raises:
        FormatTooNew: `app.db` or a day file is of one.
    """
    for name, found, known in (("app.db", app, APP_FORMATS), ("a day file", days, KNOWN_FORMATS)):
        if found >= known.stop:
            raise FormatTooNew(
                f"{name} has format {found}, and this Trimtab knows formats up to {known.stop - 1}: a newer "
                "Trimtab wrote it. Install that version."
            )


def upgrade_steps(app: Path, folder: Path) -> list[FileStep]:
    """Return what an upgrade would do to the files of a data folder; changes nothing.

    Raises:
        FormatTooNew: a newer Trimtab wrote one of them.
        StorageError: one cannot be read.
    """
    steps = []
    if app.exists():
        version = format_at(app, APP_FORMATS)
        if version < len(MIGRATIONS):
            names = ", ".join(step.name for step in MIGRATIONS[version:])
            steps.append(
                FileStep(app, f"format {version} to {len(MIGRATIONS)}: {names}", backed_up=version > 0)
            )
    smaller = f"format 1 to {DAY_FORMAT}: payloads in blocks, a smaller index"
    steps += (FileStep(path, smaller, backed_up=True) for path in earlier_files(folder))
    return steps


def _formats_of(path: Path) -> range:
    if is_day_file(path.name):
        return KNOWN_FORMATS
    if path.suffix == ".db":
        return APP_FORMATS
    raise StorageError(f"{path} is no database of Trimtab's; expected app.db or a day file")
