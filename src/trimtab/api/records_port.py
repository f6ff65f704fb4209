"""What the API and the console ask about calls: one part of the port."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from trimtab.storage import (
    BillQuery,
    BillRow,
    CallQuery,
    Cube,
    Erasure,
    RollupRow,
    SessionRow,
    Trace,
    TraceRow,
)
from trimtab.types import Actor, Call, FeedbackGiven

from .answers import Erased


class Records(Protocol):
    """Calls and what was said of them."""

    async def find(self, query: CallQuery, *, payload: bool) -> list[Call]:
        """Return matching calls, newest first."""
        ...

    async def get(self, call_id: str) -> Call | None:
        """Return one call with payload and feedback, or None."""
        ...

    async def sessions(self, *, project: str = "", before: str = "", limit: int = 50) -> list[SessionRow]:
        """Return sessions, newest first; see `CallStore.sessions`."""
        ...

    async def traces(self, *, project: str = "", before: str = "", limit: int = 50) -> list[TraceRow]:
        """Return traces that have spans, newest first; see `SpanStore.traces`."""
        ...

    async def trace(self, trace_id: str, *, most_spans: int, most_calls: int) -> Trace | None:
        """Return one trace's spans and calls, or None; see `SpanStore.trace`."""
        ...

    async def rollup(self, cube: Cube, since_us: int = 0, until_us: int = 0) -> list[RollupRow]:
        """Return a cube's rows; see `CallStore.rollup`."""
        ...

    async def top_users(self, since_us: int, until_us: int, project: str, most: int) -> list[RollupRow]:
        """Return the daily sums of the users with most calls; see `CallStore.top_users`."""
        ...

    async def bill(self, query: BillQuery) -> list[BillRow]:
        """Return sums over calls; see `CallStore.bill`."""
        ...

    def export(self, query: CallQuery) -> AsyncIterator[list[Call]]:
        """Yield all matching calls with payload, newest first, a page at a time; `limit` is the whole."""
        ...

    async def give_feedback(self, actor: Actor, call_id: str, fields: dict[str, Any]) -> FeedbackGiven:
        """Record feedback on a call; `fields` are name, score, value, comment, correction.

        Raises:
            NotFound: there is no such call.
        """
        ...

    @property
    def erasures(self) -> int:
        """How often something was erased since the start: what was kept of answers before is good no more."""
        ...

    async def erase(self, actor: Actor, what: Erasure) -> Erased:
        """Erase a user's or a session's calls everywhere; returns when no trace is left in store and log.

        Raises:
            CallerError: neither user nor session is given.
        """
        ...
