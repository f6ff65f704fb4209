"""The manifest of a folder of day files: which format its names and files follow."""

from pathlib import Path

import msgspec

from trimtab.storage.atomic import write_atomically
from trimtab.storage.days import parse_file_name
from trimtab.types import FormatTooNew, StorageError

FOLDER_FORMAT = 2
"""2: no day file is of format 1."""

_NAME = "manifest.json"


class _Manifest(msgspec.Struct, frozen=True):
    format: int


def has_earlier_format(folder: Path) -> bool:
    """Tell whether a folder may hold day files of an earlier format; one without day files holds none.

    Loads no SQLite, so that a process may ask that never needs it.

    Raises:
        FormatTooNew: a newer Trimtab wrote it.
        StorageError: the manifest is damaged, or the folder cannot be read.
    """
    path = folder / _NAME
    try:
        raw = path.read_bytes() if path.exists() else b'{"format":0}'
        has_days = folder.exists() and any(parse_file_name(entry.name) for entry in folder.iterdir())
    except OSError as error:
        raise StorageError(f"{path} could not be read: {error}") from error
    try:
        manifest = msgspec.json.decode(raw, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(
            f'{path} is damaged: {error}. Expected {{"format": {FOLDER_FORMAT}}}; write that, or restore it.'
        ) from error
    if manifest.format > FOLDER_FORMAT:
        raise FormatTooNew(
            f"{path} has format {manifest.format}, and this Trimtab knows formats up to {FOLDER_FORMAT}: "
            "a newer Trimtab wrote it. Install that version again, or choose another data folder."
        )
    return has_days and manifest.format < FOLDER_FORMAT


def write_manifest(folder: Path) -> None:
    """Note that all day files of a folder are of the present format; a manifest that says so is left alone."""
    path, content = folder / _NAME, msgspec.json.encode(_Manifest(FOLDER_FORMAT))
    from .connection import storage_errors

    with storage_errors(path):
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)
