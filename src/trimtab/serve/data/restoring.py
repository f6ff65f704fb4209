"""Making a data folder from a backup."""

import errno
import hashlib
import os
import secrets
import shutil
from pathlib import Path, PurePosixPath

import msgspec

from trimtab.ledger import LOG_FORMAT
from trimtab.types import CallerError, FormatTooNew, StorageError

from .backup import (
    BACKUP_FORMAT,
    BackupDone,
    BackupManifest,
    CopiedFile,
    create_private,
    sync_folder,
)
from .known import MANIFEST

_PIECE = 1024 * 1024


class _Format(msgspec.Struct, frozen=True):
    """What every manifest has, in any format."""

    format: int


def restore(backup: Path, data_dir: Path) -> BackupDone:
    """Make a data folder from a backup: all of it or, where anything is wrong, nothing.

    Calls that were open when the backup began come out as unfinished. Workers' counters go on where they were.

    Args:
        backup: a folder that `back_up` wrote.
        data_dir: the data folder to be; missing, or empty.

    Raises:
        CallerError: the data folder has something in it, or `backup` is no backup.
        FormatTooNew: a newer Trimtab made the backup.
        StorageError: a file of the backup is missing or damaged, or the data folder cannot be written.
    """
    manifest = read_manifest(backup)
    place = data_dir.resolve()  # the folder itself, where a link leads to it
    try:
        _refuse_unless_empty(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        # A mount point cannot be replaced, and nothing can be moved into it from outside.
        mounted = os.path.ismount(place)
        name = f".{place.name}.{secrets.token_hex(4)}.partial"
        draft = place / name if mounted else place.with_name(name)
        try:
            draft.mkdir(mode=0o700)
            for file in manifest.files:
                _copy(backup, draft, file)
            for folder in (*(path for path in draft.rglob("*") if path.is_dir()), draft):
                sync_folder(folder)
            (_move_up if mounted else _replace)(draft, place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{str(data_dir)!r} cannot be restored: {error}") from error
    size = sum(file.bytes for file in manifest.files)
    return BackupDone(
        path=str(data_dir.absolute()), files=len(manifest.files), bytes=size, began_us=manifest.began_us
    )


def read_manifest(backup: Path) -> BackupManifest:
    """Return a backup's manifest, of formats that this version reads.

    Raises:
        CallerError: it is no backup.
        FormatTooNew: a newer Trimtab made it.
        StorageError: the manifest is damaged.
    """
    from trimtab.storage.sqlite import check_formats

    path = backup / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CallerError(
            f"{str(backup)!r} is no backup: {MANIFEST} cannot be read ({error}); one that was interrupted has none"
        ) from error
    try:
        found = msgspec.json.decode(raw, type=_Format).format
        if found > BACKUP_FORMAT:
            raise FormatTooNew(
                f"{str(path)!r} has format {found}, and this Trimtab reads up to {BACKUP_FORMAT}; install the "
                "newer Trimtab that made it"
            )
        manifest = msgspec.json.decode(raw, type=BackupManifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{str(path)!r} is damaged: {error}; use another backup") from error
    check_formats(manifest.app_format, manifest.day_format)
    if manifest.log_format > LOG_FORMAT:
        raise FormatTooNew(
            f"{str(backup)!r} holds a log of format {manifest.log_format}; install a newer Trimtab"
        )
    for file in manifest.files:
        parts = PurePosixPath(file.path).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise StorageError(
                f"{str(path)!r} is damaged: {file.path!r} is no path within it; use another backup"
            )
    return manifest


def _copy(backup: Path, draft: Path, file: CopiedFile) -> None:
    """Copy a file, and refuse it unless it is what was written then."""
    place = draft / file.path
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        source = (backup / file.path).open("rb")
    except OSError as error:
        raise StorageError(
            f"{file.path!r} of the backup cannot be read: {error}; use another backup"
        ) from error
    with source, create_private(place) as copy:
        while piece := source.read(_PIECE):
            digest.update(piece)
            copy.write(piece)
        copy.flush()
        os.fsync(copy.fileno())
    if digest.hexdigest() != file.sha256:
        raise StorageError(
            f"{file.path!r} of the backup is damaged: its SHA-256 is another; use another backup"
        )


def _refuse_unless_empty(place: Path, but: str = "") -> None:
    """Raise CallerError where something stands in a folder; what a file system has at its root does not count."""
    if place.exists() and (
        not place.is_dir() or {path.name for path in place.iterdir()} - {"lost+found", but}
    ):
        raise CallerError(f"{str(place)!r} is not empty; restore into a new folder, or move that away")


def _replace(draft: Path, place: Path) -> None:
    try:
        draft.rename(place)  # in one step, and only over an empty folder
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            _refuse_unless_empty(place)
        raise
    sync_folder(place.parent)


def _move_up(draft: Path, place: Path) -> None:
    _refuse_unless_empty(place, draft.name)
    for path in sorted(draft.iterdir()):
        path.rename(place / path.name)
    place.chmod(0o700)
    sync_folder(place)
