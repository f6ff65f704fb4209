"""Replacing a file in one step: readers see the old one whole or the new one whole, after a power cut too."""

import contextlib
import os
import secrets
import time
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file of mode 0600 under a temporary name beside it, then rename it.

    Args:
        path: the file to replace or create; its folder must exist.
        data: what it shall hold.
        durable: sync file and folder before returning, so that a power cut cannot undo it.

    Raises:
        OSError: it could not be written; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        # File systems stamp in ticks of milliseconds, and reuse inodes; a stamp of our own tells two quick
        # writes apart for whoever looks at the file's status only.
        now = time.time_ns()
        os.utime(temporary, ns=(now, now))
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make a file's content survive a power cut."""
    _sync(path)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries survive a power cut."""
    _sync(folder)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
