"""Counters that survive the death of their process: whole numbers in a memory-mapped file, one a process.

The file is 8 KiB, written in full when it is made, so that a full disk later cannot keep it from counting:
that is when counting what went unrecorded matters most. Layout, little-endian: magic 8s, format u16, padding
to 64 bytes, then 1016 int64 slots: `COUNTER_NAMES` from 0 on, a histogram's buckets from 128 on.
"""

import fcntl
import math
import mmap
import os
import struct
import sys
from pathlib import Path

from trimtab.types.errors import FolderBusy, FormatTooNew, StorageError

COUNTER_NAMES = (
    "requests",
    "answered",
    "errors",
    "cancelled",
    "unrecorded_opened",
    "unrecorded_closed",
    "upstream_attempts",
    "retries",
    "fallbacks",
    "input_tokens",
    "output_tokens",
    "cost_nusd",
    "in_flight",
    "feedback",
    "rejected",
    "opened",
    "unrecorded_feedback",
    "latency_us_sum",
    "counters_recreated",
    "spans",
    "unrecorded_spans",
    "cache_hits",
    "refused_requests",
    "refused_tokens",
    "refused_concurrency",
    "refused_budget",
    "refused_crowded",
    "budget_waits",
    "budget_alerts",
    "limits_crowded",
    "unpriced_calls",
    "hedges",
    "shed",
)
"""What is counted, in the order of the file's slots: new names go to the end."""

BUCKETS = 82
"""Of the histogram of latencies: below 1 ms, four per octave up to 2^20 ms (17 minutes), and above."""

SUFFIX = ".counters"
FORMAT = 1
_MAGIC = b"TTCOUNT\x1a"
_HEADER = struct.Struct("<8sH54x")
_FILE_BYTES = 8192
_SLOTS = (_FILE_BYTES - _HEADER.size) // 8
_PER_OCTAVE = 4
_INDEX = {name: index for index, name in enumerate(COUNTER_NAMES)}
_INPUT, _OUTPUT, _COST = _INDEX["input_tokens"], _INDEX["output_tokens"], _INDEX["cost_nusd"]
_LATENCY_SUM = _INDEX["latency_us_sum"]
_FULL = 1 << 62
_LATENCY = 128
"""First slot of the histogram; those between the names and it are spare."""


class Counters:
    """One process's counters, used from one thread. No other process counts in the same file meanwhile."""

    __slots__ = ("_fd", "_map", "_slots", "path", "recreated")

    def __init__(self, folder: Path, name: str) -> None:
        """Open `NAME.counters`, or make it; values go on where they were, but `in_flight`, which starts at 0.

        A file that is damaged is put aside as `*.damaged`, and a new one started; `recreated` and the counter
        `counters_recreated` say so.

        Raises:
            FolderBusy: another process counts in this file.
            FormatTooNew: a newer Trimtab made it.
            StorageError: it cannot be made: the disk is full, or the folder not writable.
        """
        if sys.byteorder != "little":
            raise StorageError("counters are little-endian, and this machine is not: it is not supported")
        self.path = folder / f"{name}{SUFFIX}"
        try:
            self._fd, self.recreated = _open_or_make(self.path)
            self._map = mmap.mmap(self._fd, _FILE_BYTES)
        except OSError as error:
            raise StorageError(
                f"counters {str(self.path)!r} cannot be opened ({error}); free space, or mend its rights"
            ) from error
        self._slots = memoryview(self._map)[_HEADER.size :].cast("q")
        self._slots[_INDEX["in_flight"]] = 0
        if self.recreated:
            self.add_named("counters_recreated")

    def add_named(self, name: str, n: int = 1) -> None:
        """Add to one of `COUNTER_NAMES`. About 0.1 µs, no system call; the value outlives this process."""
        self._slots[_INDEX[name]] += n

    def observe_ms(self, ms: float) -> None:
        """Add a latency to the histogram, and to `latency_us_sum`. About 0.4 µs."""
        self._slots[_LATENCY + bucket_of(ms)] += 1
        self.add_named("latency_us_sum", int(ms * 1000))

    def add_finished(self, outcome: str, usage: tuple[int, int, int], ms: float) -> None:
        """Add a call that has ended, in one go: its outcome's counter, (input, output, nano-USD), its latency."""
        slots = self._slots
        slots[_INDEX[outcome]] += 1
        if slots[_COST] > _FULL or slots[_INPUT] > _FULL or slots[_OUTPUT] > _FULL:
            return  # full: counting on must not fail calls, and nobody reads these figures any more
        slots[_INPUT] += usage[0]
        slots[_OUTPUT] += usage[1]
        slots[_COST] += usage[2]
        slots[_LATENCY + bucket_of(ms)] += 1
        slots[_LATENCY_SUM] += int(ms * 1000)

    def values(self) -> dict[str, int]:
        """Return all counters by name, and the histogram's buckets as `latency_ms[17]`."""
        return _named(self._slots)

    def flush(self) -> None:
        """Return once the values would survive a power cut too; they survive the process at any time."""
        self._map.flush()

    def close(self) -> None:
        """Release the file. Counting after this is an error."""
        if self._fd < 0:
            return
        self._slots.release()
        self._map.close()
        os.close(self._fd)
        self._fd = -1


def bucket_of(milliseconds: float) -> int:
    """Return the bucket that a duration falls into: 0 below 1 ms, then four per octave.

    >>> bucket_of(0.5), bucket_of(1), bucket_of(2), bucket_of(1e9)
    (0, 1, 5, 81)
    """
    if not milliseconds >= 1:  # NaN too
        return 0
    if milliseconds >= 1 << 20:
        return BUCKETS - 1
    return 1 + int(math.log2(milliseconds) * _PER_OCTAVE)


def bucket_bound_ms(bucket: int) -> float:
    """Return a bucket's upper bound, exclusive: 1 ms for bucket 0, infinity for the last.

    >>> bucket_bound_ms(0), bucket_bound_ms(4), bucket_bound_ms(BUCKETS - 1)
    (1.0, 2.0, inf)
    """
    return math.inf if bucket >= BUCKETS - 1 else 2.0 ** (bucket / _PER_OCTAVE)


def read_all(folder: Path) -> dict[str, int]:
    """Return the sums over all counter files of a folder, by the names that `Counters.values` uses.

    A damaged file counts as nothing: its process puts it aside when it starts again.

    Raises:
        FormatTooNew: a newer Trimtab made one of them.
    """
    total = dict.fromkeys(_named(memoryview(bytes(_SLOTS * 8)).cast("q")), 0)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        if _is_intact(data, path):
            for name, value in _named(memoryview(data)[_HEADER.size :].cast("q")).items():
                total[name] += value
    return total


def settle(folder: Path, name: str) -> None:
    """Say that a process which is gone has nothing in flight any more; nothing happens where it left no counters.

    Call it only where nobody of that name lives. A successor of that name would do the same, but may never come.
    """
    try:
        fd = os.open(folder / f"{name}{SUFFIX}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        header = os.pread(fd, _HEADER.size, 0)
        if len(header) == _HEADER.size and _HEADER.unpack(header) == (_MAGIC, FORMAT):
            os.pwrite(fd, bytes(8), _HEADER.size + 8 * _INDEX["in_flight"])
    finally:
        os.close(fd)


def _named(slots: memoryview) -> dict[str, int]:
    values = {name: slots[index] for name, index in _INDEX.items()}
    return values | {f"latency_ms[{bucket}]": slots[_LATENCY + bucket] for bucket in range(BUCKETS)}


def _is_intact(data: bytes, path: Path) -> bool:
    if len(data) < _HEADER.size:
        return False
    magic, version = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        return False
    if version > FORMAT:
        raise FormatTooNew(
            f"counters {str(path)!r} have format {version}, and this Trimtab reads up to {FORMAT}; "
            "run the newer Trimtab that made them"
        )
    return len(data) == _FILE_BYTES


def _open_or_make(path: Path) -> tuple[int, bool]:
    """Return the open, locked file, and whether a damaged one had to give way."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    damaged = False
    if not path.exists():
        _make(path)
    fd = _lock(path)
    if not _is_intact(os.pread(fd, _FILE_BYTES + 1, 0), path):
        damaged = True
        path.replace(path.with_suffix(".damaged"))
        os.close(fd)
        _make(path)
        fd = _lock(path)
    return fd, damaged


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise FolderBusy(f"another process counts in {str(path)!r}; each needs a file of its own") from error
    return fd


def _make(path: Path) -> None:
    """Write a whole, zeroed file under another name, then give it its own: nobody ever sees half of it."""
    unborn = path.with_suffix(".new")
    fd = os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        content = _HEADER.pack(_MAGIC, FORMAT).ljust(_FILE_BYTES, b"\0")
        if os.write(fd, content) != len(content):
            raise StorageError(f"the disk of {str(path)!r} is full; free space on it")
        # Blocks are only promised until now; fsync makes the file system take them.
        os.fsync(fd)
    finally:
        os.close(fd)
    unborn.rename(path)
