"""Server-sent events, cut into frames and read: the bytes stay as the provider wrote them.

Source: WHATWG HTML, section 9.2.6 (event stream interpretation); a frame here is one event with its blank line.
"""

import re

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
)
from trimtab.types.errors import MalformedReply

from .hide import NOTHING, Hide
from .usage import ORDINARY, Nesting, read_timings, read_usage
from .wire import AnyChunk, Chunk, ChunkChoice, Delta, error_text, text_of, text_or_nothing

_BLANK_LINE = re.compile(rb"\n(?:\r?\n|\r)|\r\r")
"""The end of a line and of the empty one behind it; of a first `\\r\\n` only the `\\n` matters."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_DONE = Frame(b"data: [DONE]\n\n", (Done(),))
_NULL = msgspec.Raw(b"null")
_chunk = msgspec.json.Decoder(Chunk).decode
_any_chunk = msgspec.json.Decoder(AnyChunk).decode
_LONGEST_BREAK = 3
"""A blank line may be split over two reads: so many bytes less one are looked at again."""


class SseFramer:
    """Cuts a byte stream into frames, at any chunking of it."""

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int = 16 * 1024 * 1024) -> None:
        self._held = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they arrived; return the frames that are whole now, each with its blank line.

        Raises:
            MalformedReply: one event is over the limit (16 MiB unless told).
        """
        held = self._held
        if not held:
            if data.endswith(b"\n\n") and data.find(b"\n\n") == len(data) - 2 and b"\r" not in data:
                return [data]  # the usual case: one whole event a read
            frames, start = _cut(data, 0)
            held += data[start:]
        else:
            look = max(0, len(held) - _LONGEST_BREAK + 1)
            # Grows in place: a line that comes in a thousand pieces is not copied a thousand times.
            held += data
            frames, start = _cut(held, look)
            del held[:start]
        if len(held) > self._limit:
            raise MalformedReply(f"one event of the stream is over {self._limit} bytes")
        return frames

    @property
    def rest(self) -> bytes:
        """What arrived after the last whole frame."""
        return bytes(self._held)


def _cut(buffer: bytes | bytearray, look: int) -> tuple[list[bytes], int]:
    """Return the whole frames of a buffer, and where its rest begins; no blank line starts before `look`."""
    frames = []
    start = 0
    while (match := _BLANK_LINE.search(buffer, look)) is not None:
        end = match.end()
        if end == len(buffer) and match.group() == b"\n\r":
            break  # an empty line's \r may still become \r\n
        frames.append(bytes(buffer[start:end]))
        start = look = end
    return frames, start


class ChunkReader:
    """Reads frames of `chat.completion.chunk` into events. One per stream: it knows whether it began.

    Attributes:
        finished: whether a choice has finished.
        done: whether the end marker has been read.
    """

    __slots__ = ("_hide", "_nesting", "_started", "done", "finished")

    def __init__(self, nesting: Nesting = ORDINARY, hide: Hide = NOTHING) -> None:
        self._hide = hide
        self._nesting = nesting
        self._started = self.finished = self.done = False

    def read(self, frame: bytes) -> Frame:
        """Return the frame with its events; comments and empty events have none.

        Raises:
            MalformedReply: the data is no JSON, or not of the chunk's shape.
        """
        if frame.startswith(b"data: {") and frame.find(b"\n") == len(frame) - 2:
            data = frame[6:-2]
        else:
            data = data_of(frame)
            if not data:
                return Frame(frame, ())
            if data == b"[DONE]":
                self.done = True
                return _DONE if frame == _DONE.raw else Frame(frame, _DONE.events)
        try:
            try:
                chunk: AnyChunk = _chunk(data)
            except msgspec.ValidationError:
                chunk = _any_chunk(data)  # usage of an unusual shape, most likely
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedReply(f"an event of the stream cannot be read: {error}") from error
        if chunk.error is not None:
            message, code = error_text(chunk.error)
            return Frame(frame, (ProviderFault(self._hide.text(message), code),))
        return self._events(frame, chunk)

    def _events(self, frame: bytes, chunk: AnyChunk) -> Frame:
        events: list[Event] = []
        if not self._started:
            self._started = True
            created = int(chunk.created) if isinstance(chunk.created, int | float) else 0
            events.append(
                Started(
                    text_or_nothing(chunk.id),
                    text_or_nothing(chunk.model),
                    text_or_nothing(chunk.system_fingerprint),
                    created,
                )
            )
        choices = chunk.choices
        if choices:
            for choice in choices:
                delta = choice.delta
                if delta is not None:
                    _deltas(events, choice, delta)
                if choice.finish_reason is not None:
                    self.finished = True
                    events.append(Finish(choice.finish_reason, choice.index))
                    if choice.usage is not None and (parts := read_usage(choice.usage, None, self._nesting)):
                        events.append(UsageReport(parts))
        usage = chunk.usage
        if usage is not None or chunk.x_groq is not None or chunk.timings is not None:
            parts = read_usage(usage, chunk.service_tier, self._nesting) or self._elsewhere(chunk)
            if parts is not None:
                events.append(UsageReport(parts))
            # Zeros say nothing, and yet a client that did not ask for usage shall not get them.
            return Frame(frame, tuple(events), not choices and usage is not None)
        return Frame(frame, tuple(events))

    def _elsewhere(self, chunk: AnyChunk) -> Usage | None:
        """Return usage that does not stand where OpenAI has it."""
        own = chunk.x_groq
        if type(own) is dict and (parts := read_usage(own.get("usage"), chunk.service_tier, self._nesting)):
            return parts
        return read_timings(chunk.timings)


def _deltas(events: list[Event], choice: ChunkChoice, delta: Delta) -> None:
    """Append what one choice's delta says; empty texts say nothing."""
    index = choice.index
    if content := delta.content:
        logprobs = choice.logprobs
        said = logprobs if logprobs and logprobs != _NULL else None
        events.append(ContentDelta(content if type(content) is str else text_of(content), index, said))
    reasoning = delta.reasoning_content or delta.reasoning
    if reasoning:
        events.append(ReasoningDelta(reasoning, index))
    if delta.refusal:
        events.append(RefusalDelta(delta.refusal, index))
    if delta.function_call is not None:
        old = delta.function_call
        events.append(ToolCallDelta(0, None, old.name, old.arguments or "", index))
    if delta.tool_calls:
        for position, call in enumerate(delta.tool_calls):
            function = call.function
            events.append(
                ToolCallDelta(
                    index=position if call.index is None else call.index,
                    id=call.id,
                    name=None if function is None else function.name,
                    arguments="" if function is None else function.arguments or "",
                    choice=index,
                )
            )


def data_of(frame: bytes) -> bytes:
    """Return the data lines of an event, joined as the standard says."""
    lines = []
    for line in _LINE_END.split(frame):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(lines).strip()
