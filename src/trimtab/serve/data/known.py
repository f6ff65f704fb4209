"""Which backups were made of a data folder: what is erased later, they may hold still.

`backups.jsonl` in the data folder has a line for each, written before the first byte is copied. A backup is written
under another name beside its place, its draft, which its maker keeps locked: one that nobody holds was cut short.
"""

import contextlib
import os
import shutil
from pathlib import Path

import msgspec

from trimtab.serve import platform
from trimtab.serve.folder import Layout
from trimtab.types import StorageError

MANIFEST = "backup.json"
_FILE = "backups.jsonl"


class Known(msgspec.Struct, frozen=True):
    """One backup that was begun."""

    path: str
    began_us: int
    draft: str = ""
    """Where it was written until it was whole; empty where 0.1 made it."""


def remember(layout: Layout, known: Known) -> None:
    """Note that a backup begins.

    Raises:
        StorageError: the data folder cannot be written.
    """
    try:
        fd = os.open(layout.root / _FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "ab") as file:
            file.write(msgspec.json.encode(known) + b"\n")
    except OSError as error:
        raise StorageError(
            f"{layout.root} cannot be written: {error}; free space, or mend its rights"
        ) from error


def known_backups(layout: Layout) -> list[str]:
    """Return the backups that are still where they were written, oldest first: whole, being made, or cut short.

    What was erased since they began, they may hold still.
    """
    there: dict[str, None] = {}
    for one in _read(layout):
        if one.draft and Path(one.draft).exists():
            there[one.path if platform.is_locked(Path(one.draft)) else one.draft] = None
        # Its draft may have become the backup since the look before, never the other way round.
        if (Path(one.path) / MANIFEST).exists():
            there[one.path] = None
    return list(there)


def clear_drafts(layout: Layout) -> None:
    """Remove drafts whose maker is gone; one that cannot be removed stays known."""
    for one in _read(layout):
        if one.draft and Path(one.draft).is_dir() and not platform.is_locked(Path(one.draft)):
            shutil.rmtree(one.draft, ignore_errors=True)


def _read(layout: Layout) -> list[Known]:
    try:
        lines = (layout.root / _FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):  # a full disk may have cut one short
            found.append(msgspec.json.decode(line, type=Known))
    return found
