"""What an upgrade of Trimtab does to the files of a data folder, told before and done at will."""

from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.serve.folder import FolderLock, Layout

if TYPE_CHECKING:
    from trimtab.storage.sqlite import FileStep, Told


def migration_steps(layout: Layout) -> "list[FileStep]":
    """Return what `migrate` would do to which files; changes nothing, and works while Trimtab runs.

    Raises:
        FormatTooNew: a newer Trimtab wrote one of them.
        StorageError: one cannot be read.
    """
    from trimtab.storage.sqlite import upgrade_steps

    return upgrade_steps(layout.app, layout.calls)


def migrate(layout: Layout, told: "Told | None" = None) -> "list[FileStep]":
    """Bring all files of a data folder to this version's formats; return what was done.

    `trimtab up` does the same by itself when it starts.

    Args:
        layout: the data folder's.
        told: told a day file's name, how many of its calls are converted, and how many it has.

    Raises:
        FolderBusy: Trimtab runs on the folder.
        FormatTooNew: a newer Trimtab wrote one of the files.
        StorageError: one cannot be read or written; what was done to others before stays.
    """
    from trimtab.storage.sqlite import convert_days, open_app_store

    steps = migration_steps(layout)
    if steps:
        with FolderLock(layout) as lock:
            lock.acquire()
            if layout.app.exists():
                open_app_store(layout.app).close()
            convert_days(Path(layout.calls), told)
    return steps
