"""What a recorder reports of what it stored and after each step, and how long it rests before the next."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from trimtab.types import Call, SpanEnded

Stored = Callable[[Sequence[Call] | Sequence[SpanEnded], int], None]
"""Told of every batch that the store has now, before the log loses it, and how many of its rows were new."""

_Told = TypeVar("_Told", Call, SpanEnded)


def told(insert: Callable[[Sequence[_Told]], int], stored: Stored | None) -> Callable[[Sequence[_Told]], int]:
    """Return a way to insert that tells `stored` of each batch afterwards."""
    if stored is None:
        return insert

    def insert_and_tell(rows: Sequence[_Told]) -> int:
        new = insert(rows)
        stored(rows, new)
        return new

    return insert_and_tell


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What one step did, and how things stand."""

    records: int = 0
    """Read from the log."""
    stored: int = 0
    """Calls that were new to the store."""
    unfinished: int = 0
    """Among `stored`: their process died before it closed them."""
    opening_lost: int = 0
    """Among `stored`: known by their closing only."""
    feedback: int = 0
    spans: int = 0
    indexed: int = 0
    removed: int = 0
    """Segments deleted, since every record in them is safe."""
    set_aside: int = 0
    """Segments renamed to `*.damaged`."""
    erasures: int = 0
    """Requests to erase that were carried out."""
    dropped_files: int = 0
    """Of whole days that were too old, or beyond the disk budget."""
    expired: int = 0
    """Calls of projects that keep theirs for a shorter time."""
    behind: bool = False
    """The log holds more to be read right now."""
    unindexed: int = 0
    open_calls: int = 0
    damaged_bytes: int = 0
    """Since the recorder was made: bytes that are no record and never will be."""
    torn_bytes: int = 0
    """Since the recorder was made: of last records that their writer died over; none was acknowledged."""
    refused: int = 0
    """Since the recorder was made: records that the store cannot hold; their segments are set aside."""
    unplaced: int = 0
    """Since the recorder was made: feedback left out, since what it is about is no stored call."""
    spans_left_out: int = 0
    """Since the recorder was made: spans that the store has no place for."""
    too_new: tuple[str, ...] = ()
    """Segments of a later format; they wait for the Trimtab that can read them."""
    error: str = ""
    """What failed in this step; nothing is lost by it, and the next step tries again."""

    @property
    def idle(self) -> bool:
        """Tell whether the step found nothing to do."""
        work = self.records + self.stored + self.feedback + self.spans + self.indexed + self.removed
        work += self.set_aside + self.erasures + self.dropped_files + self.expired
        return not work and not self.behind


class Pause:
    """Decides how long to wait after a step."""

    SHORTEST_S = 0.02
    """Detecting a lone call this soon costs an idle recorder about 0.2 % of a core."""
    LOADED_S = 0.1
    LONGEST_S = 0.2
    LONGEST_AFTER_ERROR_S = 5.0
    FEW_CALLS = 8

    def __init__(self) -> None:
        self._last_s = self.SHORTEST_S

    def after(self, progress: Progress) -> float:
        """Return the seconds to wait after a step: 0 only where the log held more than one step may take."""
        if progress.error:
            self._last_s = min(max(self._last_s, self.SHORTEST_S) * 2, self.LONGEST_AFTER_ERROR_S)
        elif progress.behind:
            self._last_s = 0.0
        elif progress.records >= self.FEW_CALLS:
            self._last_s = self.LOADED_S
        elif progress.idle:
            self._last_s = min(max(self._last_s, self.SHORTEST_S) * 1.5, self.LONGEST_S)
        else:
            self._last_s = self.SHORTEST_S
        return self._last_s
