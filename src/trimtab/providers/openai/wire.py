"""The OpenAI wire format, as far as we must understand it; whatever else is there passes through unread.

Source: platform.openai.com/docs/api-reference/chat (objects `chat.completion`, `chat.completion.chunk`) and
/embeddings, read November 2026. Every field is optional here: compatible servers leave many out.
"""

from typing import Any

import msgspec

from .usage import UsageWire


def text_or_nothing(value: object) -> str:
    """Return a field that ought to be a text; providers also write numbers and null there."""
    if type(value) is str:
        return value
    return "" if value is None else str(value)[:200]


class FunctionDelta(msgspec.Struct, frozen=True, gc=False):
    """`delta.tool_calls[].function`."""

    name: str | None = None
    arguments: str | None = None


class ToolDelta(msgspec.Struct, frozen=True):
    """`delta.tool_calls[]`."""

    index: int | None = None
    id: str | None = None
    function: FunctionDelta | None = None


class Delta(msgspec.Struct, frozen=True):
    """`choices[].delta`, and with the same names `choices[].message`."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolDelta] | None = None
    function_call: FunctionDelta | None = None
    """What tool calls were called before 2024; some servers still write it."""


class ChunkChoice(msgspec.Struct, frozen=True):
    """`choices[]` of a chunk."""

    index: int = 0
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw()
    """Undecoded. Not `| None`: a union with `Raw` would take nothing but null."""
    usage: Any = None
    """Where Moonshot's streams have it."""


class AnyChunk(msgspec.Struct, frozen=True):
    """`chat.completion.chunk`, or the error object that some providers send in its place; usage in any shape."""

    id: Any = None
    model: Any = None
    created: Any = None
    system_fingerprint: Any = None
    choices: list[ChunkChoice] | None = None
    usage: Any = None
    service_tier: Any = None
    x_groq: Any = None
    """Groq's own place for a stream's usage."""
    timings: Any = None
    """llama.cpp's counts, there also where it sends no usage."""
    error: Any = None


class Chunk(AnyChunk, frozen=True):
    """The same with usage in its common shape, which nearly all have."""

    usage: UsageWire | None = None


class MessageChoice(msgspec.Struct, frozen=True):
    """`choices[]` of a whole completion."""

    message: Delta | None = None
    finish_reason: str | None = None


class AnyCompletion(msgspec.Struct, frozen=True):
    """`chat.completion`, usage in any shape."""

    id: Any = None
    model: Any = None
    system_fingerprint: Any = None
    choices: list[MessageChoice] | None = None
    usage: Any = None
    service_tier: Any = None
    timings: Any = None
    error: Any = None


class CompletionWire(AnyCompletion, frozen=True):
    """The same with usage in its common shape, which nearly all have."""

    usage: UsageWire | None = None


class EmbeddingsWire(msgspec.Struct, frozen=True):
    """The list that `/embeddings` returns; vectors stay undecoded."""

    data: list[msgspec.Raw] | None = None
    model: Any = None
    usage: Any = None
    error: Any = None


class ModelWire(msgspec.Struct, frozen=True):
    """One entry of `/models`."""

    id: str


class ModelsWire(msgspec.Struct, frozen=True):
    """The list that `/models` returns."""

    data: list[ModelWire]


def text_of(content: str | list[Any] | None) -> str:
    """Return the text of a content field: a plain string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if not content:
        return ""
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def error_text(error: object) -> tuple[str, str]:
    """Return (message, code) of an `error` object in any of the shapes that providers use."""
    if isinstance(error, dict):
        message = error.get("message") or error.get("type") or "no message"
        return str(message), str(error.get("code") or error.get("type") or "")
    return str(error), ""
