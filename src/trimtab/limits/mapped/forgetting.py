"""Forgetting whom an erasure names: accounts and buckets of the mapped file, and lines of the list of events."""

import os
from collections.abc import Set
from pathlib import Path
from typing import Final

import msgspec

from trimtab.limits.rules import number_of
from trimtab.types import Clock

from .events import FILES
from .layout import AT_CELLS, AT_RECORDS, CELL, Cell
from .state import FREE, State, subject_bytes

_SPACE: Final = b" "


def forget(folder: Path, subject: str, *, spare: Set[int], names: Set[str], clock: Clock) -> int:
    """Remove a subject's cells and overwrite its events; return how many there were. About 20 ms.

    A cell that calls under way still hold something in loses its subject now, and the rest with its period.

    Args:
        folder: where the file and its events lie; nothing is made in it.
        subject: whom to forget.
        spare: numbers (`ident`) of rules whose subjects of that name are something else: a model, a project.
        names: names of the same rules.
        clock: wall and monotonic time.

    Raises:
        StorageError: the file cannot be opened.
        OSError: the events cannot be overwritten.
    """
    # It cannot be read any more, and so nobody can say whom it names; what is spent is counted from the ledger.
    (folder / "state.damaged").unlink(missing_ok=True)
    if not (folder / "state").exists():
        return _forget_events(folder, subject, names)
    state = State(folder / "state", clock)
    try:
        with state:  # whoever appends events holds it too
            return _forget_cells(state, subject, spare) + _forget_events(folder, subject, names)
    finally:
        state.close()


def _forget_cells(state: State, subject: str, spare: Set[int]) -> int:
    numbers, text, done = state.numbers, subject_bytes(subject), 0
    for at in range(AT_CELLS, AT_RECORDS, CELL):
        if numbers[at] in (0, FREE) or numbers[at + Cell.RULE] in spare:
            continue
        if numbers[at + Cell.SUBJECT : at + CELL].tobytes() != text or not _is_of(state, at, subject):
            continue
        for offset in range(Cell.SUBJECT, CELL):
            numbers[at + offset] = 0
        if not numbers[at + Cell.UNDER_WAY]:
            numbers[at] = FREE  # a 0 would hide what stands behind it
            for offset in range(Cell.RULE, Cell.SUBJECT):
                numbers[at + offset] = 0
        done += 1
    return done


def _is_of(state: State, at: int, subject: str) -> bool:
    """Return whether a cell is this subject's: of a long one it holds the beginning only, but its key all of it."""
    numbers = state.numbers
    ident = str(numbers[at + Cell.RULE])
    period = (str(numbers[at + Cell.START_US]),) if numbers[at + Cell.END_US] else ()
    return numbers[at] == number_of(ident, subject, *period)


def _forget_events(folder: Path, subject: str, names: Set[str]) -> int:
    return sum(_forget_lines(folder / name, subject, names) for name in FILES)


def _forget_lines(path: Path, subject: str, names: Set[str]) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    done = at = 0
    try:
        for line in os.pread(fd, os.fstat(fd).st_size, 0).splitlines(keepends=True):
            if _names(line, subject, names):
                os.pwrite(fd, _SPACE * (len(line) - 1), at)  # in place: no byte of it is left behind
                done += 1
            at += len(line)
        os.fsync(fd)
    finally:
        os.close(fd)
    return done


def _names(line: bytes, subject: str, names: Set[str]) -> bool:
    try:
        event = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        return False
    return event.get("subject") == subject and event.get("budget") not in names
