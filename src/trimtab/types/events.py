"""What a streamed answer consists of, whatever dialect it came in."""

import msgspec

from .usage import Usage


class ContentDelta(msgspec.Struct, frozen=True, gc=False):
    """More text of one choice."""

    text: str
    choice: int = 0
    logprobs: msgspec.Raw | None = None


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """More of the model's visible reasoning."""

    text: str
    choice: int = 0


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a refusal."""

    text: str
    choice: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """More of one tool call: id and name come first, arguments in pieces."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    choice: int = 0


class Started(msgspec.Struct, frozen=True, gc=False):
    """Who answers: the provider's response id, the model it says it served, its fingerprint."""

    response_id: str = ""
    model: str = ""
    fingerprint: str = ""
    created: int = 0


class Finish(msgspec.Struct, frozen=True, gc=False):
    """One choice is complete."""

    reason: str
    choice: int = 0


class UsageReport(msgspec.Struct, frozen=True):
    """The provider's figures for the whole call."""

    usage: Usage


class Done(msgspec.Struct, frozen=True, gc=False):
    """The provider's end marker: nothing follows."""


class ProviderFault(msgspec.Struct, frozen=True, gc=False):
    """An error that the provider reported inside a stream."""

    message: str
    code: str = ""


Event = (
    ContentDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallDelta
    | Started
    | Finish
    | UsageReport
    | Done
    | ProviderFault
)

CONTENT_EVENTS = (ContentDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)
"""Events a client would see as part of the answer: after the first one, failing over would repeat text."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One piece of a stream: the provider's own bytes, if it has a byte dialect, and what they say.

    `raw` is one whole server-sent event with its blank line, or empty where the provider speaks events only.
    A frame that only carries usage has `usage_only` set, so that the raw lane can drop it whole.
    """

    raw: bytes
    events: tuple[Event, ...]
    usage_only: bool = False
