"""One segment file from its writer's side: its name, its lock, its birth.

A segment appears in the folder under its own name only once it is locked and has its header: a reader never
meets one that is empty because it is new, nor one that is unlocked because its writer was not there yet.
"""

import errno
import fcntl
import os
import re
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from trimtab.types import new_id

from .frames import Header, encode_header

SUFFIX = ".log"
DAMAGED_SUFFIX = ".damaged"
UNBORN_SUFFIX = ".new"

_WRITER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UUID_CHARS = 36


class NewSegment(NamedTuple):
    """A segment that was just made."""

    fd: int
    path: Path
    segment_id: bytes


def is_writer_name(name: str) -> bool:
    """Tell whether a text may stand in a segment's name: 1 to 64 of letters, digits, and `.-_`."""
    return _WRITER.fullmatch(name) is not None


def segment_uuid(stem: str) -> UUID | None:
    """Return the id at the end of a segment's name (without suffix), or None where there is none."""
    try:
        return UUID(stem[-_UUID_CHARS:])
    except ValueError:
        return None


def writer_of(stem: str) -> str:
    """Return the writer's name in a segment's name (without suffix)."""
    return stem[: -_UUID_CHARS - 1]


def left_by_the_dead(folder: Path) -> list[str]:
    """Return the names of segments whose writer is gone, and which the recorder has not stored and removed yet."""
    left = []
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if not is_locked(fd):
                left.append(path.name)
        finally:
            os.close(fd)
    return left


def create_segment(folder: Path, writer: str, writer_id: bytes, created_us: int) -> NewSegment:
    """Make a segment: mode 0600, locked for as long as its descriptor lives, header written.

    The descriptor is closed on exec, so that no child keeps the lock of a dead writer.

    Raises:
        OSError: the file system refuses; nothing is left behind.
    """
    name = new_id(created_us // 1000)
    path = folder / f"{writer}-{name}{SUFFIX}"
    unborn = path.with_suffix(UNBORN_SUFFIX)
    segment_id = UUID(name).bytes
    header = encode_header(Header(created_us, writer_id, segment_id))
    fd = os.open(unborn, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.write(fd, header) != len(header):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(unborn))  # noqa: TRY301 - as write would
        unborn.rename(path)
    except OSError:
        os.close(fd)
        unborn.unlink(missing_ok=True)
        raise
    return NewSegment(fd, path, segment_id)


def is_locked(fd: int) -> bool:
    """Tell whether some other open file holds the segment's lock, which means that its writer lives."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
