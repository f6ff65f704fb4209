"""Feedback whose call is not stored yet, or named by the provider's response id: it waits until its call is stored.

It may never be: the call was erased before its feedback came, or there was none. Then the feedback is left out, and
blanked in the log: it may say who gave it.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Set

import msgspec

from trimtab.storage import CallStore
from trimtab.types import Call, Clock, FeedbackGiven

from .frames import Framed
from .reader import SegmentReader

WAIT_S = 60.0
"""A call may still be open, or in a segment that is read later; most are stored within a second."""

MOST = 10_000
"""Pieces that wait at once; beyond it the oldest is given up early, so that nonsense cannot fill the memory."""


class _Waiting(msgspec.Struct):
    given: FeedbackGiven
    segment: SegmentReader
    framed: Framed
    until: float
    placed: bool = False

    @property
    def awaited(self) -> str:
        """Id of the call or of the response that it is about."""
        return self.given.call_id or self.given.response_id


class Unplaced:
    """Finds the calls of feedback: in the store once, then among calls as they are stored.

    Attributes:
        given_up: how many pieces named a call, or a response, that is not stored.
        left_out: where those stand in the log; the caller blanks them, and empties the list.
    """

    def __init__(self, store: CallStore, clock: Clock, is_open: Callable[[str], bool]) -> None:
        """Prepare.

        Args:
            store: where calls are looked for.
            clock: says how long a piece has waited.
            is_open: whether a call of some id has begun and not ended, so that it is worth waiting for.
        """
        self.given_up = 0
        self.left_out: list[tuple[SegmentReader, Framed]] = []
        self._store = store
        self._clock = clock
        self._is_open = is_open
        self._fresh: deque[_Waiting] = deque()
        self._queue: deque[_Waiting] = deque()
        self._by_awaited: dict[str, list[_Waiting]] = {}
        self._held: Counter[SegmentReader] = Counter()

    def __len__(self) -> int:
        return self._held.total()

    def add(self, given: FeedbackGiven, segment: SegmentReader, framed: Framed) -> None:
        """Take a piece of feedback."""
        self._fresh.append(_Waiting(given, segment, framed, self._clock.monotonic() + WAIT_S))
        self._held[segment] += 1

    def holds(self, segment: SegmentReader) -> bool:
        """Tell whether a segment must stay, since feedback in it still waits."""
        return self._held[segment] > 0

    def erase(self, ids: Set[str]) -> None:
        """Forget feedback that was erased from the log."""
        for waiting in [*self._fresh, *self._queue]:
            if waiting.given.id in ids and not waiting.placed:
                self._forget(waiting)
                waiting.placed = True
                self._release(waiting.segment)
        self._fresh = deque(waiting for waiting in self._fresh if not waiting.placed)

    def placed(self, stored: Iterable[Call], *, all_read: bool) -> list[FeedbackGiven]:
        """Return the feedback whose call is known now, with its id; give up what waited too long.

        Args:
            stored: calls that were stored since the last time.
            all_read: whether the log was read to its end; a call that is awaited may stand there still otherwise.

        Raises:
            StorageError: the store cannot be asked; nothing is lost by it.
        """
        found: list[FeedbackGiven] = []
        for call in stored if self._by_awaited else ():
            response_id = call.closed.provider_response_id if call.closed is not None else ""
            for awaited in (call.id, response_id):
                found += [self._place(waiting, call.id) for waiting in self._by_awaited.pop(awaited, ())]
        while self._fresh:
            waiting = self._fresh[0]
            call_id = self._look_up(waiting.given)
            self._fresh.popleft()
            if call_id is not None:
                found.append(self._place(waiting, call_id))
            else:
                self._by_awaited.setdefault(waiting.awaited, []).append(waiting)
                self._queue.append(waiting)
        if all_read:
            found += self._overdue()
        return found

    def _look_up(self, given: FeedbackGiven) -> str | None:
        if not given.call_id:
            return self._store.find_response(given.response_id)
        call = self._store.get(given.call_id)
        return None if call is None else call.id

    def _overdue(self) -> list[FeedbackGiven]:
        found: list[FeedbackGiven] = []
        now = self._clock.monotonic()
        for _ in range(len(self._queue)):
            waiting = self._queue[0]
            if not waiting.placed:
                if waiting.until > now and len(self._queue) <= MOST:
                    break
                if self._is_open(waiting.given.call_id):
                    waiting.until = now + WAIT_S
                    self._queue.rotate(-1)
                    continue
                # Once more: an error of the store may have kept its call from us.
                call_id = self._look_up(waiting.given)
                self._forget(waiting)
                if call_id is not None:
                    found.append(self._place(waiting, call_id))
                else:
                    self.given_up += 1
                    self.left_out.append((waiting.segment, waiting.framed))
                    self._release(waiting.segment)
            self._queue.popleft()
        return found

    def _place(self, waiting: _Waiting, call_id: str) -> FeedbackGiven:
        waiting.placed = True
        self._release(waiting.segment)
        return msgspec.structs.replace(waiting.given, call_id=call_id)

    def _forget(self, waiting: _Waiting) -> None:
        others = [one for one in self._by_awaited.pop(waiting.awaited, ()) if one is not waiting]
        if others:
            self._by_awaited[waiting.awaited] = others

    def _release(self, segment: SegmentReader) -> None:
        self._held[segment] -= 1
        if not self._held[segment]:
            del self._held[segment]
