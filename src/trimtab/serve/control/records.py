"""Calls, and what was said of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from trimtab.api import Erased
from trimtab.ledger import Durability, LogWriter
from trimtab.serve.data import known_backups
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
from trimtab.types import Actor, Call, CallerError, FeedbackGiven, NotFound, new_id

from .erase import erase
from .room import Deed, Room

_PAGE: Final = 500
"""Calls read at a time for an export."""


class GivenFeedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields that whoever gives feedback may say."""

    name: str = "rating"
    score: float | None = None
    value: str = ""
    comment: str = ""
    correction: str = ""


class Records:
    """See `api.Records`."""

    def __init__(self, room: Room, durability: Durability) -> None:
        self._room = room
        self._durability = durability
        self._writer: LogWriter | None = None
        self._opening = asyncio.Lock()

    def close(self) -> None:
        """Close this process's segment of the log."""
        if self._writer is not None:
            self._writer.close()

    def _open_log(self) -> LogWriter:
        return LogWriter(self._room.layout.log, "control", durability=self._durability)

    async def find(self, query: CallQuery, *, payload: bool) -> list[Call]:
        """See `api.Records.find`."""
        return await self._room.stores.calls(lambda calls: calls.find(query, payload=payload))

    async def get(self, call_id: str) -> Call | None:
        """See `api.Records.get`."""
        return await self._room.stores.calls(lambda calls: calls.get(call_id))

    async def sessions(self, *, project: str = "", before: str = "", limit: int = 50) -> list[SessionRow]:
        """See `api.Records.sessions`."""
        return await self._room.stores.calls(
            lambda calls: calls.sessions(project=project, before=before, limit=limit)
        )

    async def traces(self, *, project: str = "", before: str = "", limit: int = 50) -> list[TraceRow]:
        """See `api.Records.traces`."""
        return await self._room.stores.calls(
            lambda calls: calls.traces(project=project, before=before, limit=limit)
        )

    async def trace(self, trace_id: str, *, most_spans: int, most_calls: int) -> Trace | None:
        """See `api.Records.trace`."""
        return await self._room.stores.calls(
            lambda calls: calls.trace(trace_id, most_spans=most_spans, most_calls=most_calls)
        )

    async def rollup(self, cube: Cube, since_us: int = 0, until_us: int = 0) -> list[RollupRow]:
        """See `api.Records.rollup`."""
        return await self._room.stores.calls(lambda calls: calls.rollup(cube, since_us, until_us))

    async def top_users(self, since_us: int, until_us: int, project: str, most: int) -> list[RollupRow]:
        """See `api.Records.top_users`."""
        return await self._room.stores.calls(lambda calls: calls.top_users(since_us, until_us, project, most))

    async def bill(self, query: BillQuery) -> list[BillRow]:
        """See `api.Records.bill`."""
        return await self._room.stores.calls(lambda calls: calls.bill(query))

    async def export(self, query: CallQuery) -> AsyncIterator[list[Call]]:
        """See `api.Records.export`."""
        left, before = query.limit, query.before
        while left > 0:
            page = msgspec.structs.replace(query, before=before, limit=min(_PAGE, left))
            calls = await self.find(page, payload=True)
            if calls:
                yield calls
            if len(calls) < page.limit:
                return
            left, before = left - len(calls), calls[-1].id

    async def give_feedback(self, actor: Actor, call_id: str, fields: dict[str, Any]) -> FeedbackGiven:
        """See `api.Records.give_feedback`."""
        try:
            given = msgspec.convert(fields, GivenFeedback)
        except msgspec.ValidationError as error:
            raise CallerError(f"the feedback cannot be used: {error}", param="feedback") from error
        call = await self.get(call_id)
        if call is None:
            raise NotFound(f"there is no call {call_id[:80]!r}; it may not be stored yet", param="id")
        record = FeedbackGiven(
            id=new_id(),
            call_id=call.id,
            at_us=self._room.clock.now_us(),
            project=call.opened.project,
            user=actor.name,
            key="",
            **msgspec.structs.asdict(given),
        )
        await self._room.note(
            actor, Deed(action="feedback.give", object=call.id, detail={"name": given.name})
        )
        async with self._opening:
            if self._writer is None:
                # Opened on need: most installations get their feedback over the gateway.
                self._writer = await asyncio.to_thread(self._open_log)
        await self._writer.append_durable(record)
        return record

    @property
    def erasures(self) -> int:
        """See `api.Records.erasures`."""
        return self._room.erasures

    async def erase(self, actor: Actor, what: Erasure) -> Erased:
        """See `api.Records.erase`. The audit log says that it was done and by whom, and not whose calls they were."""
        if not what.user and not what.session:
            raise CallerError("say whose calls to erase: user, session or both", param="user")
        fields = [name for name in ("project", "user", "session") if getattr(what, name)]
        await self._room.note(actor, Deed(action="call.erase", object="calls", detail={"by": fields}))
        result = await erase(self._room, what)
        found = {"calls": result.calls, "log_records": result.log_records}
        await self._room.note(actor, Deed(action="call.erased", object="calls", detail=dict(found)))
        backups = await asyncio.to_thread(known_backups, self._room.layout)
        return Erased(backups=(*backups, *result.unreadable), **found)
