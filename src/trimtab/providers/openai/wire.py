"""The OpenAI wire format, as far as we must understand it; whatever else is there passes through unread.

Source: platform.openai.com/docs/api-reference/chat (objects `chat.completion`, `chat.completion.chunk`) and
/embeddings, read November 2026. Every field is optional here: compatible servers leave many out.
"""

from typing import Any

import msgspec

from trimtab.types import Usage

MOST_TOKENS = 10**12
"""A count above it is a provider's mistake (an underflow, say), and worth as much as none."""


class PromptDetails(msgspec.Struct, frozen=True):
    """`usage.prompt_tokens_details`."""

    cached_tokens: Any = None
    cache_write_tokens: Any = None
    audio_tokens: Any = None


class CompletionDetails(msgspec.Struct, frozen=True):
    """`usage.completion_tokens_details`."""

    reasoning_tokens: Any = None
    audio_tokens: Any = None


class UsageWire(msgspec.Struct, frozen=True):
    """`usage`, with DeepSeek's name for cached tokens beside OpenAI's. Counts are checked when they are read."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Any = None

    def parts(self) -> Usage | None:
        """Return the billed parts, or None where the provider left the totals out or wrote nonsense."""
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        inputs, outputs = _count(self.prompt_tokens), _count(self.completion_tokens)
        if inputs is None or outputs is None:
            return None
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        if prompt is None and completion is None and self.prompt_cache_hit_tokens is None:
            return Usage(inputs, outputs)
        prompt, completion = prompt or PromptDetails(), completion or CompletionDetails()
        return Usage(
            input_tokens=inputs,
            output_tokens=outputs,
            cached_tokens=_count(prompt.cached_tokens) or _count(self.prompt_cache_hit_tokens) or 0,
            cache_write_tokens=_count(prompt.cache_write_tokens) or 0,
            reasoning_tokens=_count(completion.reasoning_tokens) or 0,
            audio_input_tokens=_count(prompt.audio_tokens) or 0,
            audio_output_tokens=_count(completion.audio_tokens) or 0,
        )


def _count(value: object) -> int | None:
    """Return a count of tokens: a whole number in any spelling; absent is 0, anything else None."""
    if type(value) is int:
        return value if 0 <= value <= MOST_TOKENS else None
    if value is None:
        return 0
    if isinstance(value, float | str):
        try:
            number = float(value)
        except ValueError:
            return None
        return int(number) if number.is_integer() and 0 <= number <= MOST_TOKENS else None
    return None


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


class Chunk(msgspec.Struct, frozen=True):
    """`chat.completion.chunk`, or the error object that some providers send in its place."""

    id: Any = None
    model: Any = None
    created: Any = None
    system_fingerprint: Any = None
    choices: list[ChunkChoice] | None = None
    usage: UsageWire | None = None
    error: Any = None


class MessageChoice(msgspec.Struct, frozen=True):
    """`choices[]` of a whole completion."""

    message: Delta | None = None
    finish_reason: str | None = None


class CompletionWire(msgspec.Struct, frozen=True):
    """`chat.completion`."""

    id: Any = None
    model: Any = None
    system_fingerprint: Any = None
    choices: list[MessageChoice] | None = None
    usage: UsageWire | None = None
    error: Any = None


class EmbeddingsWire(msgspec.Struct, frozen=True):
    """The list that `/embeddings` returns; vectors stay undecoded."""

    data: list[msgspec.Raw] | None = None
    model: Any = None
    usage: UsageWire | None = None
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
