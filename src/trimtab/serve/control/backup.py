"""A backup while everything runs: the log first, then the stores, so that nothing falls between the two."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from trimtab.serve.folder import Layout
from trimtab.storage import AppStore
from trimtab.types import CallerError, StorageError

DEED = "backup.make"


def prepare(target: str, layout: Layout) -> Path:
    """Make the new folder of a backup, closed to other users.

    Raises:
        CallerError: it is there already, lies within the data folder, or cannot be made.
    """
    folder = Path(target)
    if not folder.is_absolute() or "\0" in target:
        raise CallerError(f"target {target[:200]!r} is no absolute path", param="target")
    if folder.resolve().is_relative_to(layout.root.resolve()):
        raise CallerError(
            "target lies within the data folder, which it is to protect; choose another", param="target"
        )
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise CallerError(
            f"target {target[:200]!r} cannot be made ({error.strerror}); name a folder that is not there yet, in one "
            "that is",
            param="target",
        ) from error
    return folder


def copy_all(layout: Layout, app: AppStore, folder: Path) -> dict[str, Any]:
    """Fill a backup's folder; return its path, files and bytes.

    A call may stand in both log and store: the recorder of a restored folder stores it once.

    Raises:
        StorageError: something cannot be read or written; what was copied is removed.
    """
    from trimtab.storage.sqlite import back_up_calls

    try:
        _copy_log(layout.log, folder / layout.log.name)
        back_up_calls(layout.calls, folder)
        app.back_up(str(folder / layout.app.name))
        # Without it the providers' keys in app.db could not be opened: so a backup is as secret as the folder.
        _copy(layout.secret, folder / layout.secret.name)
        files = [path for path in folder.rglob("*") if path.is_file()]
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StorageError(
            f"the backup in {folder} cannot be written: {error.strerror}; free space there"
        ) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return {"target": str(folder), "files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def _copy_log(log: Path, target: Path) -> None:
    target.mkdir(mode=0o700)
    for segment in sorted(path for path in log.iterdir() if path.is_file()):
        # A segment that is gone by now is stored, and comes with the store.
        with suppress(FileNotFoundError):
            _copy(segment, target / segment.name)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as write:
            shutil.copyfileobj(read, write, 1 << 20)
            write.flush()
            os.fsync(fd)


def known_backups(app: AppStore) -> list[str]:
    """Return the folders that backups were made into and that are still there."""
    entries = app.audit(action=DEED, limit=1000)
    made = dict.fromkeys(str(entry.detail.get("target")) for entry in entries if entry.outcome == "done")
    return [folder for folder in made if Path(folder).is_dir()]
