"""Statuses, whole completions and embeddings of the OpenAI dialect, read into our words."""

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from trimtab.types import Clock, Completion
from trimtab.types.errors import (
    EmptyReply,
    MalformedReply,
    ProviderAuthFailed,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    RateLimited,
)

from .usage import ORDINARY, Nesting, read_timings, read_usage
from .wire import AnyCompletion, CompletionWire, EmbeddingsWire, error_text, text_of, text_or_nothing

_completion = msgspec.json.Decoder(CompletionWire).decode
_any_completion = msgspec.json.Decoder(AnyCompletion).decode
_embeddings = msgspec.json.Decoder(EmbeddingsWire).decode

_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes of a 429 that no pause mends: the account is empty. Another target may still answer."""


def completion(body: bytes, nesting: Nesting = ORDINARY) -> Completion:
    """Read a `chat.completion`; its usage by the provider's rules of nesting.

    Raises:
        MalformedReply: no JSON, or not of that shape.
        EmptyReply: no choice in it.
        ProviderFailed: an error object under a status of 200.
    """
    try:
        try:
            reply: AnyCompletion = _completion(body)
        except msgspec.ValidationError:
            reply = _any_completion(body)  # usage of an unusual shape, most likely
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedReply(f"the reply cannot be read: {error}; it begins {body[:80]!r}") from error
    if reply.error is not None:
        raise ProviderFailed(f"the provider answered 200 with an error: {error_text(reply.error)[0]}")
    if not reply.choices:
        raise EmptyReply("the provider's reply has no choices")
    usage = read_usage(reply.usage, reply.service_tier, nesting)
    if usage is None and reply.timings is not None:
        usage = read_timings(reply.timings)
    text = ""
    if usage is None:
        text = "".join(text_of(c.message.content) for c in reply.choices if c.message is not None)
    return Completion(
        body,
        text_or_nothing(reply.id),
        text_or_nothing(reply.model),
        text_or_nothing(reply.system_fingerprint),
        reply.choices[0].finish_reason or "",
        usage,
        text,
    )


def embeddings(body: bytes, nesting: Nesting = ORDINARY) -> Completion:
    """Read the list of embeddings; its usage by the provider's rules of nesting.

    Raises:
        MalformedReply: no JSON, or not of that shape.
        EmptyReply: no vector in it.
        ProviderFailed: an error object under a status of 200.
    """
    try:
        reply = _embeddings(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedReply(f"the reply cannot be read: {error}; it begins {body[:80]!r}") from error
    if reply.error is not None:
        raise ProviderFailed(f"the provider answered 200 with an error: {error_text(reply.error)[0]}")
    if not reply.data:
        raise EmptyReply("the provider's reply has no embeddings")
    return Completion(
        body=body,
        model=text_or_nothing(reply.model),
        usage=read_usage(reply.usage, None, nesting),
    )


def refusal(status: int, body: bytes, retry_after_s: float | None) -> ProviderError:
    """Return the error that a status other than 200 means; `body` is its beginning."""
    message, code = _message(status, body)
    if status == 429:
        limited = RateLimited(message, retry_after_s=retry_after_s)
        limited.retryable = code not in _SPENT
        return limited
    if status in (503, 529):
        return ProviderUnavailable(message, retry_after_s=retry_after_s)
    if status in (401, 403):
        return ProviderAuthFailed(f"the provider refused our key: {message}; check its api_key")
    if 400 <= status < 500 and status != 408:
        return ProviderRejected(message, status=status, body=body)
    failed = ProviderFailed(message, retry_after_s=retry_after_s)
    failed.retryable = status >= 500 or status == 408  # a redirect would be answered the same way again
    return failed


def retry_after(value: str, value_ms: str, clock: Clock) -> float | None:
    """Return the pause a provider asks for, in seconds, from `Retry-After` or `retry-after-ms` (RFC 9110, 10.2.3)."""
    try:
        if value_ms:
            pause = float(value_ms) / 1000
        elif not value:
            return None
        elif value.replace(".", "", 1).isdigit():
            pause = float(value)
        else:
            at = parsedate_to_datetime(value)
            # The obsolete asctime form names no zone; HTTP dates are UTC all the same (RFC 9110, 5.6.7).
            at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
            pause = at.timestamp() - clock.now_us() / 1e6
    except (ValueError, OverflowError):
        return None  # a provider's typing error is no reason to fail: we use our own pause then
    return max(0.0, pause) if math.isfinite(pause) else None


def _message(status: int, body: bytes) -> tuple[str, str]:
    """Return what a refusal says, and the provider's code for it."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        decoded = None
    if isinstance(decoded, dict) and (error := decoded.get("error") or decoded.get("detail")):
        text, code = error_text(error)
        return f"the provider answered {status}: {text}", code
    beginning = body[:200].decode("utf-8", "replace").strip()
    return f"the provider answered {status}" + (f": {beginning}" if beginning else ""), ""
