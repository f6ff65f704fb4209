"""What a fake is told to answer, as data, and what it is asked."""

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from trimtab.types import CallKind, Usage

from .wire.plan import Pace

_TOKEN = re.compile(r"\s*\S{1,6}|\s+")


def split_tokens(text: str) -> list[str]:
    """Cut a text into the fake's tokens: up to six characters with the blanks before them.

    Joining the tokens gives the text back. No real tokenizer cuts like this; the counts are only stable.

    >>> split_tokens("Paris is a city.")
    ['Paris', ' is', ' a', ' city.']
    """
    return _TOKEN.findall(text)


class ToolCall(msgspec.Struct, frozen=True):
    """One call of a tool; `arguments` is JSON text, as on the wire, and may be broken on purpose."""

    name: str
    arguments: str = "{}"
    id: str = ""
    """Empty: one is made up from the position."""


class Choice(msgspec.Struct, frozen=True):
    """One choice of an answer. Text given in pieces is streamed in exactly those pieces."""

    text: str | Sequence[str] = ""
    reasoning: str | Sequence[str] = ""
    refusal: str = ""
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str = ""
    """Empty: `tool_calls` where a tool is called, else `stop`."""
    logprobs: Sequence[tuple[str, float]] = ()
    """(token, natural log of its probability) for the whole text. Empty: made up where the request asks."""

    def whole_text(self) -> str:
        """Return the text in one piece."""
        return self.text if isinstance(self.text, str) else "".join(self.text)

    def whole_reasoning(self) -> str:
        """Return the reasoning in one piece."""
        return self.reasoning if isinstance(self.reasoning, str) else "".join(self.reasoning)

    def finish(self) -> str:
        """Return the finish reason as it goes out."""
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")


class Scripted(Choice, frozen=True, kw_only=True):
    """One reply, as data. It is its own first choice; `others` are the choices after it.

    A status of 300 or above sends `error` instead of an answer. `body` replaces whatever would be sent.
    """

    others: Sequence[Choice] = ()
    usage: Usage | None = None
    """None: counted from the words."""
    report_usage: bool = True
    """False: the answer carries no usage at all, asked for or not."""
    model: str = ""
    """The model that claims to have answered; empty: the one asked for."""
    response_id: str = ""
    fingerprint: str = "fp_fake"
    chunk_chars: int = 0
    """Characters per streamed piece of a text given whole; 0: one token a piece."""
    embeddings: Sequence[Sequence[float]] = ()
    """One vector per input; empty: unit vectors made from a hash of the input."""
    status: int = 200
    error: str | dict[str, Any] | None = None
    """Message, or the whole JSON body, of a status of 300 and above; None: a fitting message."""
    body: bytes | None = None
    headers: dict[str, str] = {}
    pace: Pace = Pace()
    fault: str = ""
    """Name of one of `FAULTS`, to strike this reply."""

    def __post_init__(self) -> None:
        for choice in self.choices():
            spelled = "".join(token for token, _ in choice.logprobs)
            if choice.logprobs and spelled != choice.whole_text():
                raise ValueError(
                    f"logprobs spell {spelled!r}; they must spell the text {choice.whole_text()!r}"
                )

    def choices(self) -> list[Choice]:
        """Return all choices in order."""
        return [self, *self.others]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What the fake was asked: the request, decoded."""

    kind: CallKind
    body: dict[str, Any]
    number: int = 0
    """How many requests this fake had before it."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case; empty where there was no HTTP."""

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body.get("model") or "")

    @property
    def stream(self) -> bool:
        """Whether a stream is wanted."""
        return bool(self.body.get("stream"))

    @property
    def include_usage(self) -> bool:
        """Whether the stream's last chunk shall carry usage."""
        options = self.body.get("stream_options")
        return isinstance(options, dict) and bool(options.get("include_usage"))

    def last_message(self, role: str) -> str:
        """Return the text of the last message of a role; empty where there is none."""
        for message in reversed(self.messages()):
            if message.get("role") == role:
                return message_text(message)
        return ""

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages that are objects."""
        found = self.body.get("messages")
        return [m for m in found if isinstance(m, dict)] if isinstance(found, list) else []


Lane = Literal["stream", "whole"]
"""How an answer is asked for: as server-sent events, or in one JSON body."""


def message_text(message: dict[str, Any]) -> str:
    """Return a message's text: its content, or the text parts of its content joined."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(str(p.get("text", "")) for p in content if isinstance(p, dict) and p.get("type") == "text")
