"""The mapped file: made, opened, searched, mended. Whatever changes it holds its lock (`with state:`)."""

import mmap
import os
import sys
from pathlib import Path
from typing import Final

from trimtab.types import Clock, StorageError

from .layout import (
    AT_CELLS,
    AT_CHUNKS,
    AT_EXTRA,
    AT_PROCESSES,
    AT_RECORDS,
    CELL,
    CELLS,
    CHUNK,
    CHUNKS,
    ENTRIES,
    EXTRA,
    FILE_BYTES,
    FORMAT,
    LOCK_LIVES,
    LOCK_MAIN,
    MAGIC,
    NUMBERS,
    PROBES,
    PROCESSES,
    RECORD,
    SUBJECT_BYTES,
    Cell,
    Header,
)
from .locks import RangeLocks

_KEPT_US: Final = 2 * 86_400_000_000
"""How long an account stays after its period: a clock that was wrong comes back to what was spent."""

FREE: Final = -1
"""Key of a cell that is being made, or was given up: free, and what stands behind it is still found."""


class State:
    """One open mapping of the file, and the process slot that goes with it."""

    __slots__ = ("_clock", "_fd", "_free", "_map", "inode", "locks", "numbers", "path", "slot")

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open the file, or make it; free what dead processes held, and take a slot.

        Raises:
            StorageError: it cannot be made or opened: the disk is full, or the folder not writable.
        """
        if sys.byteorder != "little":
            raise StorageError("limits are kept little-endian, and this machine is not: it is not supported")
        self.path = path
        self._clock = clock
        try:
            self._fd = _open(path)
            self._map = mmap.mmap(self._fd, FILE_BYTES)
        except OSError as error:
            raise StorageError(
                f"limits {str(path)!r} cannot be opened ({error}); free space, or mend its rights"
            ) from error
        self.inode = os.fstat(self._fd).st_ino
        self.numbers = memoryview(self._map).cast("q")
        self.locks = RangeLocks(self._fd, LOCK_MAIN)
        self._free: list[int] = []
        self.slot = -1
        with self:
            self._meet_boot()
            self.free_the_dead()
            self.slot = self._take_slot()

    def __enter__(self) -> "State":
        self.locks.take()
        if self.numbers[Header.DIRTY]:
            self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.locks.free()

    def is_lost(self) -> bool:
        """Return whether the file is not the one under its name any more."""
        try:
            return self.path.stat().st_ino != self.inode
        except OSError:
            return True

    def close(self) -> None:
        """Let the file go; whoever looks next frees what this process held."""
        if self._fd >= 0:
            self.numbers.release()
            self._map.close()
            os.close(self._fd)
            self._fd = -1

    # --- time -----------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """Return the time that periods go by."""
        return int(self._clock.monotonic() * 1e6) + self.numbers[Header.OFFSET_US]

    def follow_clock(self, believed_s: float, patience_s: float) -> None:
        """Follow the wall clock: small steps at once, a jump once it has lasted."""
        numbers, mono_us = self.numbers, int(self._clock.monotonic() * 1e6)
        wall = self._clock.now_us() - mono_us
        if abs(wall - numbers[Header.OFFSET_US]) <= believed_s * 1e6:
            numbers[Header.OFFSET_US] = wall
            numbers[Header.JUMP_SINCE_US] = 0
        elif numbers[Header.JUMP_SINCE_US] and abs(wall - numbers[Header.JUMP_US]) <= believed_s * 1e6:
            if mono_us - numbers[Header.JUMP_SINCE_US] >= patience_s * 1e6:
                numbers[Header.OFFSET_US] = wall
                numbers[Header.JUMP_SINCE_US] = 0
        else:
            numbers[Header.JUMP_US] = wall
            numbers[Header.JUMP_SINCE_US] = max(mono_us, 1)
        numbers[Header.SEEN_US] = mono_us + numbers[Header.OFFSET_US]

    def _meet_boot(self) -> None:
        """After another boot: forget buckets, doubt what is spent, take the clock anew but never back."""
        numbers, boot = self.numbers, _boot()
        if numbers[Header.BOOT] == boot:
            return
        numbers[Header.DIRTY] = 1
        for slot in range(PROCESSES):
            numbers[AT_PROCESSES + slot] = 0
        for chunk in range(CHUNKS):
            self._drop_chunk(chunk)
        for at in range(AT_CELLS, AT_RECORDS, CELL):
            if numbers[at] and not numbers[at + Cell.END_US]:
                numbers[at + Cell.REQUESTS] = numbers[at + Cell.TOKENS] = 0
        self._recount()
        # A power cut may have lost pages: the ledger must confirm what is spent. No two files share an epoch.
        numbers[Header.EPOCH] = int.from_bytes(os.urandom(6), "little")
        mono_us = int(self._clock.monotonic() * 1e6)
        numbers[Header.OFFSET_US] = max(self._clock.now_us(), numbers[Header.SEEN_US]) - mono_us
        numbers[Header.SEEN_US] = mono_us + numbers[Header.OFFSET_US]
        numbers[Header.JUMP_SINCE_US] = 0
        numbers[Header.BOOT] = boot
        numbers[Header.DIRTY] = 0

    # --- cells ----------------------------------------------------------------------------------------------

    def find(self, key: int) -> int:
        """Return where the cell of a key starts; -1 where there is none."""
        numbers = self.numbers
        for at in _places(key):
            found = numbers[at]
            if found == key:
                return at
            if not found:
                break
        return self._find_extra(key)

    def _find_extra(self, key: int) -> int:
        keys = self.numbers[AT_EXTRA:AT_RECORDS:CELL].tolist()
        return AT_EXTRA + keys.index(key) * CELL if key in keys else -1

    def make(self, key: int, rule: int, subject: str, period: tuple[int, int]) -> int:
        """Return where a new cell of a key starts; -1 where the table is full there.

        Args:
            key: of rule, subject and period.
            rule: the rule's number.
            subject: for whoever looks.
            period: (start, end) of a budget's; (0, 0) for a limit.
        """
        numbers = self.numbers
        now_us, now_ns = self.now_us(), int(self._clock.monotonic() * 1e9)
        for at in _places(key):
            if numbers[at] in (0, FREE) or self._is_over(at, now_us, now_ns):
                self._fill(at, key, rule, subject, period)
                return at
        return -1

    def make_extra(self, key: int, rule: int, subject: str, period: tuple[int, int]) -> int:
        """Return where a new cell starts that must find a place, as `make`; -1 where even that is full."""
        numbers = self.numbers
        now_us, now_ns = self.now_us(), int(self._clock.monotonic() * 1e9)
        for at in range(AT_EXTRA, AT_RECORDS, CELL):
            if numbers[at] in (0, FREE) or self._is_over(at, now_us, now_ns):
                self._fill(at, key, rule, subject, period)
                return at
        return -1

    def _is_over(self, at: int, now_us: int, now_ns: int) -> bool:
        """Return whether a cell says nothing any more that a new one would not."""
        numbers = self.numbers
        if numbers[at + Cell.UNDER_WAY]:
            return False
        if numbers[at + Cell.END_US]:
            return numbers[at + Cell.END_US] + _KEPT_US <= now_us
        return numbers[at + Cell.REQUESTS] <= now_ns and numbers[at + Cell.TOKENS] <= now_ns

    def _fill(self, at: int, key: int, rule: int, subject: str, period: tuple[int, int]) -> None:
        numbers = self.numbers
        numbers[at] = FREE  # whoever dies before the key is there leaves a free place
        numbers[at + Cell.RULE] = rule
        for offset in range(Cell.SPENT, Cell.START_US):
            numbers[at + offset] = 0
        numbers[at + Cell.START_US], numbers[at + Cell.END_US] = period
        for offset, number in enumerate(memoryview(subject_bytes(subject)).cast("q"), start=Cell.SUBJECT):
            numbers[at + offset] = number
        numbers[at] = key

    def subject(self, at: int) -> str:
        """Return the subject of a cell."""
        text = self.numbers[at + Cell.SUBJECT : at + CELL].tobytes().rstrip(b"\0")
        return text.decode("utf-8", "ignore")

    # --- records --------------------------------------------------------------------------------------------

    def take_record(self) -> int:
        """Return where a free record of this process starts; -1 where all are taken."""
        if not self._free:
            numbers = self.numbers
            for chunk in range(CHUNKS):
                if not numbers[AT_CHUNKS + chunk]:
                    numbers[AT_CHUNKS + chunk] = self.slot + 1
                    first = AT_RECORDS + chunk * CHUNK * RECORD
                    self._free.extend(range(first + (CHUNK - 1) * RECORD, first - 1, -RECORD))
                    break
            else:
                return -1
        return self._free.pop()

    def give_record(self, at: int) -> None:
        """Take a record back."""
        self.numbers[at] = 0
        self._free.append(at)

    # --- the dead -------------------------------------------------------------------------------------------

    def free_the_dead(self) -> int:
        """Let what dead processes held count as spent; return how many calls that were. 1 µs a process."""
        numbers, left = self.numbers, 0
        for slot in range(PROCESSES):
            if not numbers[AT_PROCESSES + slot] or slot == self.slot:
                continue
            if self.locks.held_elsewhere(LOCK_LIVES + slot):
                continue
            numbers[Header.DIRTY] = 1
            for chunk in range(CHUNKS):
                if numbers[AT_CHUNKS + chunk] == slot + 1:
                    left += self._drop_chunk(chunk)
            numbers[AT_PROCESSES + slot] = 0
            numbers[Header.SETTLED] += 1
            numbers[Header.DIRTY] = 0
        numbers[Header.LEFT] += left
        return left

    def mend(self) -> None:
        """Set right what a process that died in the middle of a change left: what is held is what records say."""
        numbers = self.numbers
        numbers[Header.DIRTY] = 1
        self._recount()
        numbers[Header.MENDED] += 1
        numbers[Header.SETTLED] += 1
        numbers[Header.DIRTY] = 0

    def _recount(self) -> None:
        numbers = self.numbers
        held: dict[int, list[int]] = {}
        for chunk in range(CHUNKS):
            if not numbers[AT_CHUNKS + chunk]:
                continue
            first = AT_RECORDS + chunk * CHUNK * RECORD
            for at in range(first, first + CHUNK * RECORD, RECORD):
                for entry in range(at + 1, at + 1 + 2 * min(numbers[at], ENTRIES), 2):
                    sums = held.setdefault(numbers[entry], [0, 0])
                    sums[0] += 1
                    sums[1] += numbers[entry + 1]
        for at in range(AT_CELLS, AT_RECORDS, CELL):
            if numbers[at]:
                numbers[at + Cell.UNDER_WAY], numbers[at + Cell.HELD] = held.get(at, (0, 0))

    def _drop_chunk(self, chunk: int) -> int:
        numbers, left = self.numbers, 0
        first = AT_RECORDS + chunk * CHUNK * RECORD
        for at in range(first, first + CHUNK * RECORD, RECORD):
            if numbers[at]:
                for entry in range(at + 1, at + 1 + 2 * min(numbers[at], ENTRIES), 2):
                    cell = numbers[entry]
                    numbers[cell + Cell.UNDER_WAY] -= 1
                    numbers[cell + Cell.HELD] -= numbers[entry + 1]
                numbers[at] = 0
                left += 1
        numbers[AT_CHUNKS + chunk] = 0
        return left

    def _take_slot(self) -> int:
        numbers = self.numbers
        for slot in range(PROCESSES):
            if not numbers[AT_PROCESSES + slot] and self.locks.try_byte(LOCK_LIVES + slot):
                numbers[AT_PROCESSES + slot] = os.getpid()
                return slot
        raise StorageError(f"{PROCESSES} processes share {str(self.path)!r} already; end some")


def subject_bytes(subject: str) -> bytes:
    """Return a subject as a cell holds it."""
    return subject.encode("utf-8", "replace")[:SUBJECT_BYTES].ljust(SUBJECT_BYTES, b"\0")


def _places(key: int) -> range:
    """Return where a key may stand, the likeliest first; the table's end is followed by nothing, so it is spared."""
    first = AT_CELLS + (key % (CELLS - PROBES)) * CELL
    return range(first, first + PROBES * CELL, CELL)


def _open(path: Path) -> int:
    """Open the file; one that is missing is made, one that is damaged is put aside."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            _make(path)
            continue
        head = os.pread(fd, 16, 0)
        if os.fstat(fd).st_size == FILE_BYTES and head[:8] == MAGIC.to_bytes(8, "little"):
            version = int.from_bytes(head[8:16], "little")
            if version == FORMAT:
                return fd
            os.close(fd)
            raise StorageError(
                f"limits {str(path)!r} have format {version}, and this Trimtab reads {FORMAT}; run the Trimtab that "
                "made them, or remove the file: what is spent is counted again from the ledger"
            )
        os.close(fd)
        path.replace(path.with_suffix(".damaged"))


def _make(path: Path) -> None:
    """Write a whole file under another name, and give it its own unless somebody else was quicker."""
    unborn = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        # All of it is written: a hole could not be filled on a full disk, and a mapping must not fail.
        head = MAGIC.to_bytes(8, "little") + FORMAT.to_bytes(8, "little")
        zeros = bytes(1 << 20)
        done = os.write(fd, head)
        while done < FILE_BYTES:
            done += os.write(fd, zeros[: FILE_BYTES - done])
        os.fsync(fd)
        try:
            os.link(unborn, path)
        except FileExistsError:
            return
    finally:
        os.close(fd)
        unborn.unlink(missing_ok=True)


def _boot() -> int:
    """Return a number that stands for this boot of the machine; never 0."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError:  # pragma: no cover - macOS: there mono and wall clock say it, to the hour
        import time

        return int((time.time() - time.monotonic()) // 3600) or 1
    return int(text.replace("-", "")[:15], 16) or 1


assert AT_RECORDS + CHUNKS * CHUNK * RECORD == NUMBERS
assert AT_EXTRA + EXTRA * CELL == AT_RECORDS
