"""What applications tell of calls: feedback, and the spans around them. Both become events in the ledger."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from trimtab.access import Caller, authorize
from trimtab.pipeline import Core, Keep, feedback_record
from trimtab.types import SpanEnded, id_time_us
from trimtab.types.errors import CallerError

from .replies import Send, send_json
from .requests import read_body

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
_LONGEST_TEXT = 100_000
_LONGEST_ID = 256
_EARLIEST_US = 1_577_836_800_000_000
"""2020-01-01: no call is older."""
_AHEAD_US = 86_400_000_000
"""Clocks of several machines differ, but not by more than a day."""
MOST_SPANS = 1000
"""In one request."""
_LONGEST_ATTRIBUTES = 16 * 1024
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}", re.ASCII)
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}", re.ASCII)


class Feedback(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/feedback`: one of `call_id` and `response_id`, and what is said of the call."""

    call_id: str = ""
    response_id: str = ""
    name: str = "rating"
    score: float | None = None
    value: str = ""
    comment: str = ""
    correction: str = ""
    user: str = ""

    def check(self, now_us: int) -> None:
        """Refuse what names no call.

        Raises:
            ValueError: both ids, none, or one that cannot be.
        """
        if bool(self.call_id) == bool(self.response_id):
            raise ValueError("exactly one of call_id and response_id is needed")
        if self.call_id:
            if not _EARLIEST_US <= id_time_us(self.call_id) <= now_us + _AHEAD_US:
                raise ValueError(
                    f"call_id {self.call_id!r} is no call's: its time is before 2020 or in the future"
                )
        elif len(self.response_id) > _LONGEST_ID or not self.response_id.isprintable():
            raise ValueError(f"response_id must be printable and at most {_LONGEST_ID} characters long")


class Span(msgspec.Struct, forbid_unknown_fields=True):
    """One span, as its application tells of it."""

    trace_id: str
    span_id: str
    name: str
    started_us: int
    ended_us: int
    parent_id: str = ""
    error: str = ""
    attributes: msgspec.Raw = msgspec.Raw(b"{}")

    def problem(self, now_us: int) -> str:
        """Return why it cannot be kept; empty where it can."""
        if not _TRACE_ID.fullmatch(self.trace_id):
            return "trace_id must be 32 lower-case hex digits, not all zero"
        if not _SPAN_ID.fullmatch(self.span_id):
            return "span_id must be 16 lower-case hex digits, not all zero"
        if self.parent_id and not _SPAN_ID.fullmatch(self.parent_id):
            return "parent_id must be empty or 16 lower-case hex digits, not all zero"
        if not _EARLIEST_US <= self.started_us <= self.ended_us <= now_us + _AHEAD_US:
            return "started_us and ended_us must be microseconds since 1970, in that order, and not in the future"
        if len(self.attributes) > _LONGEST_ATTRIBUTES:
            return f"attributes are {len(self.attributes)} bytes, and {_LONGEST_ATTRIBUTES} are the most"
        if bytes(self.attributes)[:1] != b"{":
            return "attributes must be an object"
        return ""

    def record(self, caller: Caller, keep: Keep) -> SpanEnded:
        """Return what the ledger keeps of it."""
        attributes = bytes(self.attributes)
        return SpanEnded(
            trace_id=self.trace_id,
            span_id=self.span_id,
            parent_id=self.parent_id,
            name=self.name[:_LONGEST_ID],
            project=caller.project,
            started_us=self.started_us,
            ended_us=self.ended_us,
            error=self.error[:_LONGEST_ID],
            attributes=b"" if attributes == b"{}" else keep(attributes),
            key=caller.key,
        )


class Spans(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/spans`. Spans are looked at one by one, so that a bad one costs itself alone."""

    spans: list[msgspec.Raw]


class Told:
    """Takes what applications tell."""

    def __init__(self, core: Core, *, bound_to_loopback: bool) -> None:
        self._core = core
        self._loopback = bound_to_loopback

    async def feedback(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/feedback`: an event in the ledger, kept beside its call."""
        core = self._core
        caller, body = await self._read(scope, receive, _LONGEST_TEXT * 4)
        try:
            given = msgspec.json.decode(body, type=Feedback)
            given.check(core.clock.now_us())
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise CallerError(
                f"{error}; send call_id (from the reply's x-trimtab-call-id) or response_id (the answer's `id`), and "
                "any of name, score, value, comment, correction, user",
                param="call_id",
            ) from error
        record = feedback_record(caller, core.clock.now_us(), msgspec.to_builtins(given))
        await core.feedback(record)
        named = {"call_id": given.call_id} if given.call_id else {"response_id": given.response_id}
        await send_json(send, 200, {"id": record.id, "object": "feedback", **named})

    async def spans(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/spans`: events in the ledger; those that cannot be kept are named in the reply."""
        core = self._core
        caller, body = await self._read(scope, receive, core.state.policy.max_request_bytes)
        try:
            given = msgspec.json.decode(body, type=Spans).spans
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CallerError(f'{error}; send {{"spans": [...]}}', param="spans") from error
        if len(given) > MOST_SPANS:
            raise CallerError(
                f"{len(given)} spans are too many for one request; send {MOST_SPANS}", param="spans"
            )
        keep, now_us = core.keep(caller.payload), core.clock.now_us()
        good: list[SpanEnded] = []
        bad: list[dict[str, object]] = []
        for index, raw in enumerate(given):
            try:
                span = msgspec.json.decode(raw, type=Span)
                problem = span.problem(now_us)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                problem = str(error)
            if problem:
                bad.append({"index": index, "reason": problem})
            else:
                good.append(span.record(caller, keep))
        await core.spans(good)
        await send_json(send, 200, {"object": "spans", "accepted": len(good), "rejected": bad})

    async def _read(self, scope: Scope, receive: Receive, limit: int) -> tuple[Caller, bytes]:
        state = self._core.state
        headers = scope["headers"]
        caller = authorize(headers, state.policy, state.ring, bound_to_loopback=self._loopback)
        return caller, await read_body(dict(headers), receive, min(state.policy.max_request_bytes, limit))
