"""The default backend: SQLite files through apsw.

Owns `app.db` and the day files `calls-YYYYMMDD[-n].db` with their `manifest.json`, all of mode 0600.
Promises: WAL, so readers of other processes never wait for the writer; what `flush` or an `AppStore` method
returned from survives a power cut; every file carries its format, and a newer one is refused.
Never runs two writers on one file: who writes is the caller's to settle, by the lock on the data folder.
Entry: `open_call_store`, `open_app_store`; `copy_database` and `upgrade_steps` for whole files.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trimtab.storage.app_port import AppStore
    from trimtab.storage.span_port import TraceStore
    from trimtab.types import Clock

    from .earlier import Told
    from .replies import SqliteReplyCache
    from .wholefiles import FileStep, check_formats, copy_database, is_day_file, upgrade_steps

__all__ = [
    "FileStep",
    "Told",
    "check_formats",
    "clear_replies",
    "convert_days",
    "copy_database",
    "has_earlier_days",
    "is_day_file",
    "open_app_store",
    "open_call_store",
    "open_reply_cache",
    "reply_figures",
    "upgrade_steps",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import wholefiles

        return getattr(wholefiles, name)
    raise AttributeError(f"module 'trimtab.storage.sqlite' has no attribute {name!r}")


def open_call_store(
    folder: str | Path, *, read_only: bool = False, roll_bytes: int | None = None
) -> "TraceStore":
    """Open the store of calls and spans of a folder.

    Args:
        folder: where the day files stand; a writer creates it (mode 0700), and converts files of an earlier format.
        read_only: for readers beside the recorder. A folder that is not there yet is an empty store.
        roll_bytes: size at which a day goes on in another file; by default one that keeps each below 2 GB.

    Raises:
        FormatTooNew: a newer Trimtab wrote the folder.
        StorageError: the folder cannot be read or written, or a reader finds files of an earlier format.
    """
    from trimtab.types import StorageError

    from .calls import ROLL_BYTES
    from .spans.traces import SqliteTraceStore

    path = Path(folder)
    if not read_only:
        convert_days(path, always=False)
    elif has_earlier_days(path):
        raise StorageError(
            f"{path} holds calls in the format of an earlier Trimtab; convert them by `trimtab migrate`, or by "
            "starting Trimtab"
        )
    return SqliteTraceStore(
        path, read_only=read_only, roll_bytes=ROLL_BYTES if roll_bytes is None else roll_bytes
    )


def open_reply_cache(path: str | Path, max_bytes: "Callable[[], int]") -> "SqliteReplyCache":
    """Return the cache of replies in a file, which is opened once it is needed.

    Args:
        path: the file; its folder exists.
        max_bytes: says what it may take on disk; asked at each write.
    """
    from .replies import SqliteReplyCache

    return SqliteReplyCache(Path(path), max_bytes)


def clear_replies(path: Path, now_us: int) -> int:
    """Remove every kept reply, so that no byte of any is left; return how many there were.

    Raises:
        StorageError: the file cannot be opened or written.
    """
    from .replies import clear

    return clear(path, now_us)


def reply_figures(path: Path, now_us: int) -> tuple[int, int]:
    """Return how many kept replies have not expired, and the bytes they take on disk.

    Raises:
        StorageError: the file cannot be opened or read.
    """
    from .replies import figures

    return figures(path, now_us)


def has_earlier_days(folder: Path) -> bool:
    """Tell whether a folder may hold day files that `convert_days` has to bring to the present format; cheap.

    Raises:
        FormatTooNew: a newer Trimtab wrote the folder.
        StorageError: the folder cannot be read.
    """
    from .manifest import has_earlier_format

    return has_earlier_format(folder)


def convert_days(folder: Path, told: "Told | None" = None, *, always: bool = True) -> list[str]:
    """Bring a folder's day files to the present format; return the names of those changed.

    Args:
        folder: where the day files stand; created (mode 0700) if need be.
        told: told a file's name, how many of its calls are done, and how many it has.
        always: look at each file, and not only where the manifest says that there is something to do.

    Raises:
        FormatTooNew: a newer Trimtab wrote the folder.
        StorageError: a file cannot be read or written.
    """
    from .connection import make_folder
    from .manifest import write_manifest

    make_folder(folder)
    found = []
    if has_earlier_days(folder) or always:
        from .earlier import convert_days

        found = convert_days(folder, told)
    write_manifest(folder)
    return found


def open_app_store(path: str | Path, *, clock: "Clock | None" = None) -> "AppStore":
    """Open `app.db`, made or migrated if need be; a backup `app.db.bak-<version>-<time>` is made before that.

    Args:
        path: the file; its folder is created (mode 0700).
        clock: gives the backup's time; the system's when omitted.

    Raises:
        FormatTooNew: a newer Trimtab wrote the file.
        StorageError: the file is damaged, or cannot be read or written.
    """
    from trimtab.types import SystemClock

    from .app import SqliteAppStore

    return SqliteAppStore(Path(path), clock or SystemClock())
