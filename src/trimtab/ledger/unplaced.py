"""Feedback that names the provider's response instead of the call: it waits until its call is stored."""

from collections import Counter, deque
from collections.abc import Iterable, Set

import msgspec

from trimtab.storage import CallStore
from trimtab.types import Call, Clock, FeedbackGiven

from .reader import SegmentReader

WAIT_S = 60.0
"""A call may still be open, or in a segment that is read later; most are stored within a second."""

MOST = 10_000
"""Pieces that wait at once; beyond it the oldest is given up early, so that nonsense cannot fill the memory."""


class _Waiting(msgspec.Struct):
    given: FeedbackGiven
    segment: SegmentReader
    until: float
    placed: bool = False


class Unplaced:
    """Finds the calls of such feedback: in the store once, then among calls as they are stored.

    Attributes:
        given_up: how many pieces named a response that no stored call has.
    """

    def __init__(self, store: CallStore, clock: Clock) -> None:
        self.given_up = 0
        self._store = store
        self._clock = clock
        self._fresh: deque[_Waiting] = deque()
        self._queue: deque[_Waiting] = deque()
        self._by_response: dict[str, list[_Waiting]] = {}
        self._held: Counter[SegmentReader] = Counter()

    def __len__(self) -> int:
        return self._held.total()

    def add(self, given: FeedbackGiven, segment: SegmentReader) -> None:
        """Take a piece of feedback that has a response id and no call id."""
        self._fresh.append(_Waiting(given, segment, self._clock.monotonic() + WAIT_S))
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

    def placed(self, stored: Iterable[Call]) -> list[FeedbackGiven]:
        """Return the feedback whose call is known now, with its id; give up what waited too long.

        Args:
            stored: calls that were stored since the last time.

        Raises:
            StorageError: the store cannot be asked; nothing is lost by it.
        """
        found: list[FeedbackGiven] = []
        for call in stored if self._by_response else ():
            response_id = call.closed.provider_response_id if call.closed is not None else ""
            found += [self._place(waiting, call.id) for waiting in self._by_response.pop(response_id, ())]
        while self._fresh:
            waiting = self._fresh[0]
            call_id = self._store.find_response(waiting.given.response_id)
            self._fresh.popleft()
            if call_id is not None:
                found.append(self._place(waiting, call_id))
            else:
                self._by_response.setdefault(waiting.given.response_id, []).append(waiting)
                self._queue.append(waiting)
        found += self._overdue()
        return found

    def _overdue(self) -> list[FeedbackGiven]:
        found: list[FeedbackGiven] = []
        now = self._clock.monotonic()
        while self._queue:
            waiting = self._queue[0]
            if not waiting.placed:
                if waiting.until > now and len(self._queue) <= MOST:
                    break
                # Once more: an error of the store may have kept its call from us.
                call_id = self._store.find_response(waiting.given.response_id)
                self._forget(waiting)
                if call_id is not None:
                    found.append(self._place(waiting, call_id))
                else:
                    self.given_up += 1
                    self._release(waiting.segment)
            self._queue.popleft()
        return found

    def _place(self, waiting: _Waiting, call_id: str) -> FeedbackGiven:
        waiting.placed = True
        self._release(waiting.segment)
        return msgspec.structs.replace(waiting.given, call_id=call_id)

    def _forget(self, waiting: _Waiting) -> None:
        response_id = waiting.given.response_id
        others = [one for one in self._by_response.pop(response_id, ()) if one is not waiting]
        if others:
            self._by_response[response_id] = others

    def _release(self, segment: SegmentReader) -> None:
        self._held[segment] -= 1
        if not self._held[segment]:
            del self._held[segment]
