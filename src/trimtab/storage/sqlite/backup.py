"""A copy of the day files while they are written to."""

import shutil
from pathlib import Path

from trimtab.storage.atomic import sync_file, sync_folder
from trimtab.storage.days import parse_file_name

from .connection import connect, create_file, storage_errors
from .schema import DAY_FORMATS


def back_up_calls(folder: Path, target: Path) -> list[Path]:
    """Copy a folder's day files and manifest into another folder; return the files made.

    Each file is copied as it stands at one moment, compacted, without what was erased from it; what is stored
    meanwhile may be missing, so copy the append log first. Reads and writes every file once.

    Args:
        folder: the call store's.
        target: a folder that is there, and holds none of these files.

    Raises:
        StorageError: a file cannot be read or written.
    """
    made = []
    with storage_errors(target):
        names = sorted(path.name for path in folder.iterdir() if parse_file_name(path.name) is not None)
        manifest = folder / "manifest.json"
        if manifest.exists():
            shutil.copyfile(manifest, target / manifest.name)
            made.append(target / manifest.name)
    for name in names:
        copy = target / name
        connection = connect(folder / name, formats=DAY_FORMATS, read_only=True)
        try:
            with storage_errors(copy):
                create_file(copy)
                connection.execute("VACUUM INTO ?", (str(copy),))
                sync_file(copy)
        finally:
            connection.close()
        made.append(copy)
    with storage_errors(target):
        sync_folder(target)
    return made
