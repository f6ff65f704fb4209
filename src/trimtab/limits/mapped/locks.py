"""Locks on ranges of a file, which the kernel frees when their holder dies."""

import fcntl
import os
import struct
import sys
from typing import Final

from trimtab.types import StorageError

_FLOCK: Final = struct.Struct("hhqqi4x")
"""`struct flock` of Linux on 64 bits (fcntl(2))."""

_OPEN_FILE: Final = sys.platform.startswith("linux") and hasattr(fcntl, "F_OFD_SETLKW")
"""Whether locks can belong to an open file: elsewhere they belong to the process, which must open it once."""


class RangeLocks:
    """Single bytes of a file, locked for writing. The bytes need not exist."""

    __slots__ = ("_fd", "_free", "_take")

    def __init__(self, fd: int, main: int) -> None:
        """Prepare; `main` is the byte that `take` and `free` are about."""
        self._fd = fd
        if not _OPEN_FILE and sys.platform.startswith("linux"):
            raise StorageError("this Linux has no open-file locks (3.15 of 2014 brought them); update it")
        self._take = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, main, 1, 0) if _OPEN_FILE else b""
        self._free = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, main, 1, 0) if _OPEN_FILE else b""

    if _OPEN_FILE:

        def take(self) -> None:
            """Lock the main byte, waiting for whoever holds it. 0.6 µs where nobody does."""
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLKW, self._take)

        def free(self) -> None:
            """Let the main byte go."""
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, self._free)

        def try_byte(self, byte: int) -> bool:
            """Lock a byte until this file is closed; False where somebody else holds it."""
            try:
                fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
            except BlockingIOError:
                return False
            return True

        def held_elsewhere(self, byte: int) -> bool:
            """Return whether another open file holds a byte."""
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
            found = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, asked)
            return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    else:  # pragma: no cover - macOS, which has no open-file locks: not run there yet

        def take(self) -> None:
            """Lock the main byte, waiting for whoever holds it."""
            fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, 0)

        def free(self) -> None:
            """Let the main byte go."""
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, 0)

        def try_byte(self, byte: int) -> bool:
            """Lock a byte until this file is closed; False where another process holds it."""
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except OSError:
                return False
            return True

        def held_elsewhere(self, byte: int) -> bool:
            """Return whether another process holds a byte."""
            if not self.try_byte(byte):
                return True
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, byte)
            return False
