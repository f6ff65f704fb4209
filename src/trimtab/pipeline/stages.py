"""What happens to a stream between the provider and the client, in a fixed order of stages.

decode (the provider's) → guard out → schema → unmask → encode → hold the end until the call is recorded.
Guard, schema and unmask join later; their seam is `StreamStage`.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from trimtab.types import (
    ContentDelta,
    Done,
    Event,
    Finish,
    Frame,
    ProviderFault,
    ReasoningDelta,
    RefusalDelta,
    Started,
    ToolCallDelta,
    Usage,
    UsageReport,
    later,
)

_encode = msgspec.json.Encoder().encode
DONE = b"data: [DONE]\n\n"
_BLOCK_PIECES = 256
"""Pieces of a streamed text that are joined into one: so many are cheap to hold, and to join."""


class StreamStage(Protocol):
    """One step of a stream. Stages are fed frame by frame, in order, and may hold frames back."""

    def feed(self, frame: Frame) -> Iterable[Frame]:
        """Take a frame; return what may go on now."""
        ...

    def finish(self) -> Iterable[Frame]:
        """The provider is done; return whatever was held back."""
        ...


class _Text:
    """A text that grows by small pieces. Each of them, kept, would take ten times the memory of its letters."""

    __slots__ = ("_blocks", "_pieces")

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        pieces = self._pieces
        pieces.append(piece)
        if len(pieces) == _BLOCK_PIECES:
            self._blocks.append("".join(pieces))
            pieces.clear()

    def whole(self) -> str:
        return "".join((*self._blocks, *self._pieces))


class Tally:
    """Adds a stream up: what the ledger keeps of it. Every frame passes here, in both lanes."""

    __slots__ = (
        "_reasoning",
        "_refusals",
        "_texts",
        "_tools",
        "content_seen",
        "finishes",
        "started",
        "usage",
    )

    def __init__(self) -> None:
        self.started: Started | None = None
        self.usage: Usage | None = None
        """The last report: providers that report often report running totals; see `later`."""
        self.finishes: dict[int, str] = {}
        self.content_seen = False
        """Whether any part of the answer has passed: after it, failing over would repeat text."""
        self._texts: dict[int, _Text] = {}
        self._reasoning: dict[int, _Text] = {}
        self._refusals: dict[int, _Text] = {}
        self._tools: dict[int, dict[int, dict[str, Any]]] = {}

    def add(self, event: Event) -> None:
        """Take one event in."""
        # One look-up of the type serves all comparisons below; mypy does not narrow by it, hence the ignores.
        kind = type(event)
        if kind is ContentDelta:
            self.content_seen = True
            text = self._texts.get(event.choice)  # type: ignore[union-attr]
            if text is None:
                text = self._texts[event.choice] = _Text()  # type: ignore[union-attr]
            text.add(event.text)  # type: ignore[union-attr]
        elif kind is Started:
            self.started = event  # type: ignore[assignment]
        elif kind is Finish:
            self.finishes[event.choice] = event.reason  # type: ignore[union-attr]
        elif kind is UsageReport:
            usage = event.usage  # type: ignore[union-attr]
            self.usage = usage if self.usage is None else later(self.usage, usage)
        else:
            self._add_rare(event)

    def _add_rare(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text, choice):
                self.content_seen = True
                self._reasoning.setdefault(choice, _Text()).add(text)
            case RefusalDelta(text, choice):
                self.content_seen = True
                self._refusals.setdefault(choice, _Text()).add(text)
            case ToolCallDelta():
                self.content_seen = True
                calls = self._tools.setdefault(event.choice, {})
                call = calls.setdefault(event.index, {"id": "", "name": "", "arguments": _Text()})
                call["id"] = event.id or call["id"]
                call["name"] = event.name or call["name"]
                call["arguments"].add(event.arguments)
            case _:
                pass

    @property
    def text(self) -> str:
        """All that the model wrote, of all choices: what an estimate of output tokens is made from."""
        parts: list[str] = []
        for store in (self._reasoning, self._texts, self._refusals):
            parts.extend(text.whole() for text in store.values())
        for calls in self._tools.values():
            for call in calls.values():
                parts.append(call["name"])
                parts.append(call["arguments"].whole())
        return "".join(parts)

    @property
    def empty(self) -> bool:
        """True while no choice has said or finished anything."""
        return not self.content_seen and not self.finishes

    def finish_reason(self) -> str:
        """Return the reason of the first choice that finished, or an empty text."""
        return self.finishes[min(self.finishes)] if self.finishes else ""

    def completion(self) -> bytes:
        """Return the stream as the `chat.completion` it would have been, for the ledger."""
        indices = {*self._texts, *self._reasoning, *self._refusals, *self._tools, *self.finishes}
        started = self.started or Started()
        reply: dict[str, Any] = {
            "id": started.response_id,
            "object": "chat.completion",
            "created": started.created,
            "model": started.model,
            "choices": [self._choice(i) for i in sorted(indices)],
        }
        return _encode(reply)

    def _choice(self, index: int) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": (self._texts[index].whole() or None) if index in self._texts else None,
        }
        if index in self._reasoning:
            message["reasoning_content"] = self._reasoning[index].whole()
        if index in self._refusals:
            message["refusal"] = self._refusals[index].whole()
        if index in self._tools:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"].whole()},
                }
                for _, call in sorted(self._tools[index].items())
            ]
        return {"index": index, "message": message, "finish_reason": self.finishes.get(index)}


class Lane(Protocol):
    """Writes a stream in the client's dialect."""

    def encode(self, frame: Frame) -> bytes:
        """Return a frame's bytes for the client, empty where it is not for it."""
        ...


class RawLane:
    """Forwards the provider's bytes; only a usage report that the client did not ask for is taken out."""

    __slots__ = ("_wants_usage",)

    def __init__(self, *, wants_usage: bool) -> None:
        self._wants_usage = wants_usage

    def encode(self, frame: Frame) -> bytes:
        """Return the bytes for the client, empty where the frame is not for it."""
        return b"" if frame.usage_only and not self._wants_usage else frame.raw


class TypedLane:
    """Writes events as `chat.completion.chunk`s, for providers without a byte dialect and for changed content."""

    __slots__ = ("_begun", "_started", "_wants_usage")

    def __init__(self, *, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._started = Started()
        self._begun: set[int] = set()

    def encode(self, frame: Frame) -> bytes:
        """Return the bytes for the client, empty where no event of the frame is for it."""
        return b"".join(self._one(event) for event in frame.events)

    def _one(self, event: Event) -> bytes:
        match event:
            case ContentDelta(text, choice, logprobs):
                return self._delta(choice, {"content": text}, logprobs=logprobs)
            case ReasoningDelta(text, choice):
                return self._delta(choice, {"reasoning_content": text})
            case RefusalDelta(text, choice):
                return self._delta(choice, {"refusal": text})
            case ToolCallDelta():
                return self._delta(event.choice, {"tool_calls": [_tool(event)]})
            case Finish(reason, choice):
                return self._delta(choice, {}, reason=reason)
            case _:
                return self._frame_of(event)

    def _frame_of(self, event: Event) -> bytes:
        """Return the bytes of what is no part of a choice."""
        match event:
            case Started():
                self._started = event
            case UsageReport(usage) if self._wants_usage:
                return self._event({"choices": [], "usage": usage_wire(usage)})
            case Done():
                return DONE
            case ProviderFault(message, code):
                return error_event(message, code, "provider_error")
        return b""

    def _delta(
        self, choice: int, delta: dict[str, Any], *, reason: str | None = None, logprobs: object = None
    ) -> bytes:
        if choice not in self._begun:
            self._begun.add(choice)
            delta = {"role": "assistant", **delta}
        body = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._event({"choices": [body]})

    def _event(self, fields: dict[str, Any]) -> bytes:
        started = self._started
        chunk: dict[str, Any] = {
            "id": started.response_id,
            "object": "chat.completion.chunk",
            "created": started.created,
            "model": started.model,
            **fields,
        }
        if started.fingerprint:
            chunk["system_fingerprint"] = started.fingerprint
        return b"data: " + _encode(chunk) + b"\n\n"


def _tool(event: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": event.arguments}
    if event.name is not None:
        function["name"] = event.name
    call: dict[str, Any] = {"index": event.index, "function": function}
    if event.id is not None:
        call |= {"id": event.id, "type": "function"}
    return call


def usage_wire(usage: Usage) -> dict[str, Any]:
    """Return usage as OpenAI's `usage` object; `cache_write_tokens` are an extension, so only where there are any."""
    prompt = {"cached_tokens": usage.cached_tokens, "audio_tokens": usage.audio_input_tokens}
    if usage.cache_write_tokens:
        prompt["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }


def error_event(message: str, code: str, kind: str) -> bytes:
    """Return the event that ends a broken stream: clients of this dialect raise it as an error."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return b"data: " + _encode({"error": error}) + b"\n\n"
