"""What stands where in the mapped file: 64-bit little-endian numbers, each written in one store.

    header      64 numbers, see `Header`
    processes  256 numbers: pid of whoever holds the slot, 0: nobody
    chunks     256 numbers: 1 + slot of the process that the chunk of records belongs to, 0: nobody
    cells    32768 x 16 numbers: an account or a bucket, see `Cell`; an open-addressing table
    extra     1024 x 16 numbers: the same, for what must find a place: marks, and the accounts of a full table
    records  16384 x 16 numbers: how many entries, then up to 7 of (cell's start, nano-USD): a call under way

A record says what its call holds, so that another process can give it back when its owner dies.
"""

from enum import IntEnum
from typing import Final

MAGIC: Final = int.from_bytes(b"TTLIMIT\x1a", "little")
FORMAT: Final = 1


class Header(IntEnum):
    """Numbers of the header."""

    MAGIC = 0
    FORMAT = 1
    DIRTY = 2
    """Not 0: somebody is, or died, in the middle of a change."""
    BOOT = 3
    """Stands for the machine's boot: monotonic times of another one mean nothing."""
    OFFSET_US = 4
    """What to add to the monotonic clock to have the time that periods go by."""
    SETTLED = 5
    """Grows with everything that may make room."""
    EPOCH = 6
    """Drawn anew when what is spent is in doubt: marks of another epoch do not count."""
    JUMP_US = 7
    """Offset that the wall clock has jumped to, and that is not believed yet."""
    JUMP_SINCE_US = 8
    """Since when, on the monotonic clock; 0: it has not jumped."""
    SEEN_US = 9
    """The time that was seen last."""
    CROWDED = 10
    """How often a subject found no place in the table."""
    MENDED = 11
    """How often a change was found torn."""
    LEFT = 12
    """Calls whose process died; what they held counts as spent."""


class Cell(IntEnum):
    """Numbers of a cell."""

    KEY = 0
    """Of rule, subject and period; 0: never used, -1: being made."""
    RULE = 1
    SPENT = 2
    """Budget: nano-USD, what is held included."""
    REQUESTS = 2
    """Limit: the moment, on the monotonic clock in ns, at which the bucket of requests is full again."""
    ALERTS = 3
    """Budget: bits of the alerts that were given."""
    TOKENS = 3
    """Limit: as `REQUESTS`, of tokens."""
    UNDER_WAY = 4
    HELD = 5
    """Nano-USD held for calls under way; part of `SPENT`."""
    START_US = 6
    END_US = 7
    """Of the period; 0: this is a limit's."""
    SUBJECT = 8
    """UTF-8, cut to 64 bytes, padded with zeros."""


CELL: Final = 16
SUBJECT_BYTES: Final = 64
CELLS: Final = 32_768
EXTRA: Final = 1024
PROCESSES: Final = 256
CHUNKS: Final = 256
CHUNK: Final = 64
"""Records in a chunk: a process owns whole chunks."""
RECORD: Final = 16
ENTRIES: Final = 7
PROBES: Final = 64
"""Places that a key is looked for at most."""

AT_PROCESSES: Final = 64
AT_CHUNKS: Final = AT_PROCESSES + PROCESSES
AT_CELLS: Final = AT_CHUNKS + CHUNKS
AT_EXTRA: Final = AT_CELLS + CELLS * CELL
AT_RECORDS: Final = AT_EXTRA + EXTRA * CELL
NUMBERS: Final = AT_RECORDS + CHUNKS * CHUNK * RECORD
FILE_BYTES: Final = NUMBERS * 8

LOCK_MAIN: Final = FILE_BYTES
"""Bytes past the end carry locks: this one is held while the state is read and changed together."""
LOCK_LIVES: Final = FILE_BYTES + 1
"""From here on, one for each process slot: held as long as its process lives."""
