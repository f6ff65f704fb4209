"""Breaker states that the workers of a machine share: one 8-byte word a target, in a memory-mapped file.

A word is read for each call, at the cost of an index into memory; it is written only when a breaker changes. A target's
place follows from a hash of its name, so that nobody hands out places, and names that callers make up cost nothing.
Two targets on one place tell each other's words apart by a tag; while both are open, only the later one is known.

A word, from its lowest bits: tag 16, good probes 4, times opened in a row 4, then the millisecond of the monotonic
clock until which the target is left alone. 0: closed. Words are written whole, so a reader sees the old one or the new
one; of two writers at once the later one wins, and the worst that comes of it is one probe more.
"""

import hashlib
import mmap
import os
from pathlib import Path

_PLACES = 16_384
_BYTES = _PLACES * 8
_TAG = 0xFFFF
MAX_OPENS = 15


class Board:
    """The words of all targets. Without a path they are this process's own."""

    __slots__ = ("_map", "words")

    def __init__(self, path: Path | None = None) -> None:
        """Map the file, and make it where it is missing.

        Raises:
            OSError: it can be neither opened nor made.
        """
        if path is None:
            self._map = mmap.mmap(-1, _BYTES)
        else:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(fd).st_size != _BYTES:
                    os.ftruncate(fd, _BYTES)
                self._map = mmap.mmap(fd, _BYTES)
            finally:
                os.close(fd)
        self.words = memoryview(self._map).cast("q")

    def close(self) -> None:
        """Release the file. Breakers on this board must not be used after it."""
        self.words.release()
        self._map.close()


def place_of(label: str) -> tuple[int, int]:
    """Return a target's place and tag (1 to 65,535)."""
    digest = hashlib.blake2b(label.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4]) % _PLACES, int.from_bytes(digest[4:6]) % _TAG + 1


def pack(until_s: float, opens: int, wins: int, tag: int) -> int:
    """Return a word.

    >>> unpack(pack(12.5, 3, 1, 77))
    (12.5, 3, 1, 77)
    """
    return int(until_s * 1000) << 24 | min(opens, MAX_OPENS) << 20 | min(wins, 15) << 16 | tag


def unpack(word: int) -> tuple[float, int, int, int]:
    """Return a word's end in seconds of the monotonic clock, times opened in a row, good probes and tag."""
    return (word >> 24) / 1000, word >> 20 & 15, word >> 16 & 15, word & _TAG
