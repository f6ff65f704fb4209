"""The OpenAI wire format, as far as we must understand it; whatever else is there passes through unread.

Source: platform.openai.com/docs/api-reference/chat (objects `chat.completion`, `chat.completion.chunk`) and
/embeddings, read November 2026. Every field is optional here: compatible servers leave many out.
"""

from typing import Any

import msgspec

from trimtab.types import Usage


class PromptDetails(msgspec.Struct, frozen=True):
    """`usage.prompt_tokens_details`."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class CompletionDetails(msgspec.Struct, frozen=True):
    """`usage.completion_tokens_details`."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class UsageWire(msgspec.Struct, frozen=True):
    """`usage`, with DeepSeek's name for cached tokens beside OpenAI's."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None

    def parts(self) -> Usage | None:
        """Return the billed parts, or None where the provider left the totals out."""
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        if prompt is None and completion is None and self.prompt_cache_hit_tokens is None:
            return Usage(self.prompt_tokens or 0, self.completion_tokens or 0)
        prompt, completion = prompt or PromptDetails(), completion or CompletionDetails()
        return Usage(
            input_tokens=self.prompt_tokens or 0,
            output_tokens=self.completion_tokens or 0,
            cached_tokens=prompt.cached_tokens or self.prompt_cache_hit_tokens or 0,
            cache_write_tokens=prompt.cache_write_tokens or 0,
            reasoning_tokens=completion.reasoning_tokens or 0,
            audio_input_tokens=prompt.audio_tokens or 0,
            audio_output_tokens=completion.audio_tokens or 0,
        )


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


class ChunkChoice(msgspec.Struct, frozen=True):
    """`choices[]` of a chunk."""

    index: int = 0
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw()
    """Undecoded. Not `| None`: a union with `Raw` would take nothing but null."""


class Chunk(msgspec.Struct, frozen=True):
    """`chat.completion.chunk`, or the error object that some providers send in its place."""

    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    system_fingerprint: str | None = None
    choices: list[ChunkChoice] | None = None
    usage: UsageWire | None = None
    error: Any = None


class MessageChoice(msgspec.Struct, frozen=True):
    """`choices[]` of a whole completion."""

    message: Delta | None = None
    finish_reason: str | None = None


class CompletionWire(msgspec.Struct, frozen=True):
    """`chat.completion`."""

    id: str | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    choices: list[MessageChoice] | None = None
    usage: UsageWire | None = None
    error: Any = None


class EmbeddingsWire(msgspec.Struct, frozen=True):
    """The list that `/embeddings` returns; vectors stay undecoded."""

    data: list[msgspec.Raw] | None = None
    model: str | None = None
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
