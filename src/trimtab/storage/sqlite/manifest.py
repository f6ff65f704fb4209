"""The manifest of a folder of day files: which format its names and files follow."""

from pathlib import Path

import msgspec

from trimtab.storage.atomic import write_atomically
from trimtab.types import FormatTooNew, StorageError

from .connection import make_folder, storage_errors

FOLDER_FORMAT = 1
_NAME = "manifest.json"


class _Manifest(msgspec.Struct, frozen=True):
    format: int


def check_manifest(folder: Path, *, read_only: bool) -> None:
    """Make sure that a folder's format is known; a writer creates folder and manifest where they are missing.

    Raises:
        FormatTooNew: a newer Trimtab wrote it.
        StorageError: the manifest is damaged, or the folder cannot be read or written.
    """
    path = folder / _NAME
    if not read_only:
        make_folder(folder)
    with storage_errors(path):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            if not read_only:
                write_atomically(path, msgspec.json.encode(_Manifest(FOLDER_FORMAT)))
            return
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
