"""What the demo's assistants did around their calls: traces, as `@observe` would have told of them."""

from collections.abc import Iterator
from random import Random
from typing import Any, Final

import msgspec

from trimtab.types import Closed, Opened, SpanEnded

from .day import Planned

ROUTES: Final = ("support", "support-ja")
"""Whose applications trace themselves."""


class _Turn(msgspec.Struct, kw_only=True):
    """One answer under way: its trace, and the span that is all of it."""

    trace_id: str
    span_id: str
    began_us: int
    question: Any
    project: str
    key: str
    ended_us: int = 0


class Tracing:
    """Makes the spans around planned calls; what looks like chance comes from a seed."""

    def __init__(self, rng: Random) -> None:
        """Take a source of its own, so that the calls stay as they are without it."""
        self._rng = rng
        self._waiting: dict[str, _Turn] = {}
        """By session: answers that wait for a tool's result and a second call."""

    def around(self, planned: Planned, opened: Opened, closed: Closed) -> tuple[Opened, list[SpanEnded]]:
        """Return a call as it is in its trace, and the spans that have ended by its end."""
        if planned.app.route not in ROUTES:
            return opened, []
        spans: list[SpanEnded] = []
        turn = self._waiting.pop(planned.session, None)
        if turn is not None:
            spans += self._tool(planned, turn, opened)
        else:
            turn = self._begin(planned, opened)
            loaded_us = turn.began_us + self._rng.randint(4_000, 20_000)
            facts = {"session": planned.session, "turns": planned.turn}
            spans.append(self._span(turn, "load_conversation", (turn.began_us + 800, loaded_us), facts))
        writing = self._span(turn, "ask_model", (opened.opened_us - 900, closed.closed_us + 1_100), {})
        if closed.state == "error":
            error = "RateLimitError" if closed.status == 429 else "APIStatusError"
            message = {"error_message": closed.error_message}
            writing = msgspec.structs.replace(writing, error=error, attributes=_json(message))
        spans.append(writing)
        turn.ended_us = writing.ended_us + 700
        if planned.calls_tool and not writing.error:
            self._waiting[planned.session] = turn
        else:
            spans.append(self._whole(turn, planned.answer, writing.error))
        parent = f"00-{turn.trace_id}-{writing.span_id}-01"
        return msgspec.structs.replace(opened, trace_parent=parent), spans

    def rest(self) -> Iterator[SpanEnded]:
        """Yield the outermost spans of answers whose second call never came."""
        for turn in self._waiting.values():
            yield self._whole(turn, "", "")
        self._waiting.clear()

    def _begin(self, planned: Planned, opened: Opened) -> _Turn:
        return _Turn(
            trace_id=f"{self._rng.getrandbits(128) | 1:032x}",
            span_id=self._new_id(),
            began_us=opened.opened_us - self._rng.randint(22_000, 90_000),
            question=planned.messages[-1]["content"],
            project=opened.project,
            key=opened.key,
        )

    def _tool(self, planned: Planned, turn: _Turn, opened: Opened) -> Iterator[SpanEnded]:
        """Yield the run of the tool, between the call that asked for it and the one that reads its result."""
        tool = planned.app.tool
        if tool is None or turn.ended_us >= opened.opened_us - 5_000:
            return
        called = planned.messages[-2]["tool_calls"][0]["function"]
        facts = {"args": msgspec.json.decode(called["arguments"]), "result": planned.messages[-1]["content"]}
        yield self._span(turn, tool.name, (turn.ended_us + 500, opened.opened_us - 2_000), facts)

    def _whole(self, turn: _Turn, answer: str, error: str) -> SpanEnded:
        facts = {"args": {"question": turn.question}} | ({"result": answer} if answer and not error else {})
        span = self._span(turn, "answer_customer", (turn.began_us, turn.ended_us), facts)
        return msgspec.structs.replace(span, span_id=turn.span_id, parent_id="", error=error)

    def _span(self, turn: _Turn, name: str, times: tuple[int, int], facts: dict[str, Any]) -> SpanEnded:
        return SpanEnded(
            trace_id=turn.trace_id,
            span_id=self._new_id(),
            parent_id=turn.span_id,
            name=name,
            project=turn.project,
            started_us=times[0],
            ended_us=times[1],
            error="",
            attributes=_json(facts) if facts else b"",
            key=turn.key,
        )

    def _new_id(self) -> str:
        return f"{self._rng.getrandbits(64) | 1:016x}"


def _json(facts: dict[str, Any]) -> bytes:
    return msgspec.json.encode(facts)
