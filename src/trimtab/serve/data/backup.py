"""Copying a data folder while everything in it goes on.

The log is copied first, then the day files, then `app.db`. A call only ever moves from the log to the day files,
so whatever was recorded when the backup began is in one of both copies, or in both: then it is stored once, for
rows are inserted by call id. Each database is copied as it stands at one moment, with its sums.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from trimtab import __version__
from trimtab.ledger import LOG_FORMAT
from trimtab.serve import platform
from trimtab.serve.folder import Layout
from trimtab.storage import write_atomically
from trimtab.types import CallerError, Clock, StorageError, SystemClock

from .known import MANIFEST, Known, clear_drafts, remember

BACKUP_FORMAT = 1
_PIECE = 1024 * 1024
_LOG_SUFFIXES = (".log", ".damaged", ".json", ".plan")


class CopiedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a backup."""

    path: str
    """Relative to the backup's folder, and to the data folder."""
    bytes: int
    sha256: str


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds; written last, so that a folder without it is no backup."""

    format: int = BACKUP_FORMAT
    trimtab: str = __version__
    """The version that made it."""
    began_us: int
    app_format: int
    day_format: int
    log_format: int
    files: tuple[CopiedFile, ...]


class BackupDone(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup came to."""

    path: str
    files: int
    bytes: int
    began_us: int


def back_up(
    layout: Layout, target: Path, *, with_secret: bool = False, clock: Clock | None = None
) -> BackupDone:
    """Write a consistent copy of a data folder into a new folder; safe while Trimtab runs on it, or not.

    Blocks, for as long as the disks take to copy all of it; readers and writers go on meanwhile.

    Args:
        layout: the data folder.
        target: the backup's folder; its parent must be there, and it must not.
        with_secret: copy `secret.key` too, which opens the providers' keys that are sealed in `app.db`.
        clock: dates the backup.

    Raises:
        CallerError: the target is there already, or lies within the data folder, or its parent is missing.
        StorageError: something cannot be read or written; nothing is left behind.
        FormatTooNew: a newer Trimtab wrote the folder.
    """
    target = target.absolute()
    _check(layout, target)
    clear_drafts(layout)
    began_us = (clock or SystemClock()).now_us()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    remember(layout, Known(str(target), began_us, str(draft)))
    try:
        draft.mkdir(mode=0o700)
        with platform.hold_folder(draft):
            manifest = _write(layout, draft, began_us, with_secret=with_secret)
            draft.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise StorageError(
            f"the backup {str(target)!r} cannot be written: {error}; nothing of it is left"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    size = sum(file.bytes for file in manifest.files)
    return BackupDone(path=str(target), files=len(manifest.files), bytes=size, began_us=began_us)


def _write(layout: Layout, draft: Path, began_us: int, *, with_secret: bool) -> BackupManifest:
    copying = _Copying(layout.root, draft)
    copying.log(layout.log)
    copying.databases(layout)
    copying.plain_files(layout.counters, (".counters",))
    copying.plain_files(layout.root / "catalog", (".json", ".jsonl"))
    if with_secret:
        copying.plain_file(layout.secret)
    manifest = BackupManifest(
        began_us=began_us,
        app_format=copying.app_format,
        day_format=copying.day_format,
        log_format=LOG_FORMAT,
        files=tuple(copying.files()),
    )
    write_atomically(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


def _check(layout: Layout, target: Path) -> None:
    if target.exists():
        raise CallerError(f"{str(target)!r} is there already; a backup goes into a new folder")
    if not target.parent.is_dir():
        raise CallerError(f"{str(target.parent)!r} is no folder; make it first")
    if layout.root.resolve() in (target.parent.resolve(), *target.parent.resolve().parents):
        raise CallerError(
            f"{str(target)!r} lies in the data folder itself; choose another place, best another disk"
        )


class _Copying:
    """Copies files of one folder into the same places of another."""

    def __init__(self, root: Path, draft: Path) -> None:
        self._root = root
        self._draft = draft
        self.app_format = 0
        self.day_format = 0

    def log(self, folder: Path) -> None:
        """Copy segments, and requests to erase that wait; the end of one may be a record half written."""
        self.plain_files(folder, _LOG_SUFFIXES)
        self.plain_files(folder / "erase", _LOG_SUFFIXES)

    def databases(self, layout: Layout) -> None:
        """Copy the day files, then `app.db`; a day that is dropped meanwhile is left out."""
        from trimtab.storage.sqlite import copy_database, is_day_file

        for path in sorted(layout.calls.iterdir()):
            if is_day_file(path.name):
                with contextlib.suppress(FileNotFoundError):
                    self.day_format = max(self.day_format, copy_database(path, self._place(path)))
        self.plain_file(layout.calls / "manifest.json")
        with contextlib.suppress(FileNotFoundError):
            self.app_format = copy_database(layout.app, self._place(layout.app))

    def plain_files(self, folder: Path, suffixes: tuple[str, ...]) -> None:
        """Copy the files of a folder with certain endings."""
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if path.suffix in suffixes and not path.name.startswith(".") and path.is_file():
                    self.plain_file(path)

    def plain_file(self, path: Path) -> None:
        """Copy a file as far as it goes; one that is gone is left out."""
        try:
            source = path.open("rb")
        except FileNotFoundError:
            return
        with source, create_private(self._place(path)) as copy:
            shutil.copyfileobj(source, copy, _PIECE)
            copy.flush()
            os.fsync(copy.fileno())

    def files(self) -> Iterator[CopiedFile]:
        """Yield all that was copied, read again from its disk."""
        for path in sorted(self._draft.rglob("*")):
            if path.is_file():
                name = path.relative_to(self._draft).as_posix()
                yield CopiedFile(path=name, bytes=path.stat().st_size, sha256=sha256_of(path))
            else:
                sync_folder(path)

    def _place(self, path: Path) -> Path:
        place = self._draft / path.relative_to(self._root)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create_private(path: Path) -> IO[bytes]:
    """Create a file that only its owner may read, open for writing."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def sync_folder(folder: Path) -> None:
    """Make a folder's entries survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
