"""A Call: one request and everything that happened to it; and its two records in the append log.

The records are positional MessagePack arrays: a new field is appended with a default, never inserted, so that
old records stay readable by new code.
"""

from typing import Any, Literal

import msgspec

from .usage import Usage

Purpose = Literal["live", "eval", "probe", "judge", "shadow", "replay"]
"""Why a call was made; only `live` counts in traffic, budget alarms and drift."""

CallState = Literal["ok", "error", "cancelled", "unfinished"]
"""How a call ended. `unfinished`: opened, then its process died; it may have been billed."""

CallKind = Literal["chat", "embeddings"]

PayloadPolicy = Literal["full", "masked", "hash", "none"]
"""What of the words is kept: all, all but what rails hide, only a SHA-256, nothing."""


NOT_BILLED = frozenset(
    {
        "unasked",
        "provider_unreachable",
        "provider_tls_failed",
        "connect_timeout",
        "rate_limited",
        "provider_unavailable",
        "provider_failed",
        "provider_rejected",
        "provider_auth_failed",
        "own_model_unavailable",
        "no_healthy_target",
        "model_not_found",
    }
)
"""Ends of an attempt after which the provider has done no work; after any other it may bill what it was sent."""


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One try of one target within a call."""

    target: str
    """`provider/model` as asked there."""
    started_us: int
    """Offset from the call's opening, in microseconds."""
    took_us: int
    error_code: str = ""
    status: int = 0
    """The provider's HTTP status; 0 where there was no answer."""
    why: str = ""
    """Empty: in its turn. `hedge`: the answer before it was late. `probe`: to see whether the target is well again.
    `stand_in`: the probe was late. `degraded`: nothing else answered."""
    usage: Usage | None = None
    """What an attempt beside the one that answered may be billed for, estimated; its cost is in the call's."""
    cost_nusd: int = 0


class Opened(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """Written before the first provider is asked: what we know of the call by then."""

    id: str
    opened_us: int
    project: str
    purpose: Purpose
    kind: CallKind
    route: str
    channel: str
    release: str
    arm: str
    model_asked: str
    """The text the caller put into `model`."""
    model: str
    """`provider/model` that the release names."""
    params_hash: str
    stream: bool
    key: str
    """Id of the key, never the key."""
    session: str
    user: str
    tags: tuple[str, ...]
    client: str
    """The caller's User-Agent."""
    trace_parent: str
    parent_call: str
    replay_of: str
    payload: PayloadPolicy
    request: bytes
    """The request's JSON under the payload policy: whole, a SHA-256 (32 bytes), or empty."""
    prompt_name: str = ""
    prompt_version: int = 0
    prompt_hash: str = ""
    prompt_label: str = ""
    variables: bytes = b""
    epoch: str = ""
    reserved_nusd: int = 0
    """What budgets reserved for it, in nano-USD: what a call that never closed counts as. 0 where none applies."""


class Closed(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """Written before the last byte goes to the client: how the call ended."""

    id: str
    closed_us: int
    first_byte_us: int
    """Offset of the first content byte from the opening, in microseconds; 0 where there was none."""
    state: CallState
    status: int
    error_code: str
    error_message: str
    model: str
    """`provider/model` that answered, or was tried last."""
    model_served: str
    """The model name in the provider's answer."""
    provider: str
    provider_response_id: str
    provider_request_id: str
    fingerprint: str
    finish_reason: str
    attempts: tuple[Attempt, ...]
    usage: Usage
    cost_nusd: int
    price_version: str
    """Id of the price table; empty where no price is known, and then the cost is 0 and flagged."""
    degraded: bool
    cache_hit: bool
    response: bytes
    """The answer's JSON under the payload policy."""
    findings: tuple[dict[str, Any], ...] = ()
    release: str = ""
    epoch: str = ""


class FeedbackGiven(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """A score, a correction or a comment on a call."""

    id: str
    call_id: str
    at_us: int
    project: str
    name: str
    """What was judged: `thumbs`, `correct`, ..."""
    score: float | None
    value: str
    comment: str
    correction: str
    user: str
    key: str
    response_id: str = ""
    """The provider's id of the answer, where the giver knew no call id; `call_id` is empty then."""


class SpanEnded(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A piece of an application's own work around calls, traced there and sent when it ended."""

    trace_id: str
    """32 hex digits, as in W3C trace context: calls made inside carry it in `trace_parent`."""
    span_id: str
    """16 hex digits; what names the span, together with `trace_id`."""
    parent_id: str
    """The span around it; empty for the outermost."""
    name: str
    project: str
    started_us: int
    ended_us: int
    error: str
    """Class of the exception that ended it; empty where none did."""
    attributes: bytes
    """A small JSON object under the payload policy: whole, a SHA-256 (32 bytes), or empty."""
    key: str = ""

    @property
    def id(self) -> str:
        """What names the span among all: `trace_id-span_id`."""
        return f"{self.trace_id}-{self.span_id}"


Record = Opened | Closed | FeedbackGiven | SpanEnded
"""Whatever may stand in the append log."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the store: an `Opened` and its `Closed`, joined. Times are microseconds since 1970, UTC."""

    opened: Opened
    closed: Closed | None
    """None: the call never finished, or has not yet."""
    state: CallState
    feedback: tuple[FeedbackGiven, ...] = ()

    @property
    def id(self) -> str:
        """The call's id: a UUIDv7, so ids sort by time."""
        return self.opened.id

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds from opening to closing; None while there is no end."""
        return None if self.closed is None else (self.closed.closed_us - self.opened.opened_us) / 1000
