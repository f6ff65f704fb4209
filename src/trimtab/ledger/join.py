"""Joining a call's two records: what was opened and not closed yet, and what to do where one is missing."""

from collections.abc import Iterable

from trimtab.types import Call, Closed, Opened, id_time_us

from .frames import Blank, Framed
from .reader import SegmentReader

OPENING_LOST = "trimtab:opening-lost"
"""Tag of a call of which only the closing could be read."""


class OpenCalls:
    """Calls that were opened and not closed so far.

    Beyond `held_bytes` of records only their place in the log is kept: they are read again when closed.
    """

    __slots__ = ("_calls", "_free_bytes")

    def __init__(self, held_bytes: int) -> None:
        self._free_bytes = held_bytes
        self._calls: dict[str, tuple[Opened | Blank | None, SegmentReader, tuple[int, int]]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def holds(self, call_id: str) -> bool:
        """Tell whether a call is open, and not erased."""
        entry = self._calls.get(call_id)
        return entry is not None and not isinstance(entry[0], Blank)

    def add(self, opened: Opened | Blank, segment: SegmentReader, found: Framed) -> None:
        """Remember an opening, or that one was erased; one of the same id gives way."""
        if opened.id in self._calls:
            self.take(opened.id)
        size = 0 if isinstance(opened, Blank) else found.end - found.start
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._calls[opened.id] = (opened, segment, (found.start, found.end))
        else:
            self._calls[opened.id] = (None, segment, (found.start, found.end))
        segment.open_calls.add(opened.id)

    def erase(self, call_ids: Iterable[str]) -> None:
        """Forget what openings say, and remember that they were erased: their ends are still to come."""
        for call_id in call_ids:
            entry = self._calls.get(call_id)
            if entry is not None:
                opened, segment, frame = entry
                if isinstance(opened, Opened):
                    self._free_bytes += frame[1] - frame[0]
                self._calls[call_id] = (Blank("o", call_id, b""), segment, frame)

    def take(self, call_id: str) -> Opened | Blank | None:
        """Return an opening and forget it.

        None: there was none, or the log lost it meanwhile. A Blank: the call was erased while it was open.
        """
        entry = self._calls.pop(call_id, None)
        if entry is None:
            return None
        opened, segment, (start, end) = entry
        segment.open_calls.discard(call_id)
        if opened is not None:
            self._free_bytes += end - start if isinstance(opened, Opened) else 0
            return opened
        record = segment.reread((start, end))
        if not isinstance(record, Opened):
            segment.faulty = True
            return None
        return record


def finished(opened: Opened, closed: Closed) -> Call:
    """Return the whole call."""
    return Call(opened=opened, closed=closed, state=closed.state)


def unfinished(opened: Opened) -> Call:
    """Return a call whose process died before it could close it."""
    return Call(opened=opened, closed=None, state="unfinished")


def without_opening(closed: Closed) -> Call:
    """Return a call of which the opening is lost, with what the closing and the id tell of it.

    It carries the tag `OPENING_LOST`, and counts as live traffic of the default project: its cost was real.
    """
    try:
        opened_us = id_time_us(closed.id)
    except ValueError:
        opened_us = closed.closed_us
    opened = Opened(
        id=closed.id,
        opened_us=opened_us,
        project="default",
        purpose="live",
        kind="chat",
        route="",
        channel="",
        release=closed.release,
        arm="",
        model_asked="",
        model=closed.model,
        params_hash="",
        stream=False,
        key="",
        session="",
        user="",
        tags=(OPENING_LOST,),
        client="",
        trace_parent="",
        parent_call="",
        replay_of="",
        payload="none",
        request=b"",
        epoch=closed.epoch,
    )
    return Call(opened=opened, closed=closed, state=closed.state)
