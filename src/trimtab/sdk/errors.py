"""What a call can end in, other than an answer.

ApiError                  the gateway answered with an error
├── GatewayUnreachable    gateway_unreachable   no connection: nothing was sent
├── GatewayLost           gateway_lost          the connection broke after sending: it may have been made
├── CallTimedOut          call_timed_out        no complete answer within `timeout_s`
├── MalformedAnswer       malformed_answer      something arrived that is no answer
└── StreamBroken          stream_cut, or the code in the stream: it began, and did not end as it should
"""

import math
import time
from email.utils import parsedate_to_datetime

import msgspec

from trimtab.types import all_errors

_RETRY_STATUSES = frozenset({429, 503})
"""The answerer says that it did nothing, and to come again: safe to repeat, whatever was asked."""

_NEVER_AGAIN = frozenset({"insufficient_quota"})
"""Said with 429, but waiting does not help."""


class ApiError(Exception):
    """A call failed.

    Attributes:
        code: the gateway's stable name for what happened; docs/reference lists them.
        status: the HTTP status, 0 where there was none.
        message: for people.
        call_id: the call's id in the ledger; empty where it never got there.
        retryable: whether the same call may succeed later.
        retry_after_s: how long the gateway asks to wait, in seconds.
        attempts: how often it was sent.
    """

    code = "api_error"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int = 0,
        call_id: str = "",
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.status = status
        self.call_id = call_id
        self.retryable = type(self).retryable if retryable is None else retryable
        self.retry_after_s = retry_after_s
        self.attempts = 1

    def __str__(self) -> str:
        about = [self.code]
        if self.status:
            about.append(f"status {self.status}")
        if self.call_id:
            about.append(f"call {self.call_id}")
        return f"{self.message} ({', '.join(about)})"


class GatewayUnreachable(ApiError):
    """There is no connection to the gateway; nothing was sent."""

    code, retryable = "gateway_unreachable", True


class GatewayLost(ApiError):
    """The connection broke after the request was sent: the call may have been made, and billed."""

    code, retryable = "gateway_lost", True


class CallTimedOut(ApiError):
    """There was no complete answer in time; the call may have been made, and billed."""

    code, retryable = "call_timed_out", True


class MalformedAnswer(ApiError):
    """What arrived is no answer; is `base_url` a gateway?"""

    code = "malformed_answer"


class StreamBroken(ApiError):
    """A stream that began did not end as it should.

    Attributes:
        partial: the text that had arrived.
    """

    code, retryable = "stream_cut", True

    def __init__(self, message: str, *, code: str = "", call_id: str = "", partial: str = "") -> None:
        super().__init__(message, code=code, status=200, call_id=call_id)
        self.partial = partial


class _ErrorBody(msgspec.Struct):
    """The `error` object of an OpenAI-shaped error."""

    message: str | None = None
    code: str | int | None = None
    type: str | None = None


class _ErrorEnvelope(msgspec.Struct):
    error: _ErrorBody | str


def from_reply(status: int, headers: dict[str, str], body: bytes) -> ApiError:
    """Return the error that a reply of status 300 or above stands for, whatever its body."""
    message, code = error_text(body)
    if not message:
        message = body[:200].decode("utf-8", "replace").strip() or "the gateway gave no reason"
    return ApiError(
        message,
        code=code or f"http_{status}",
        status=status,
        call_id=headers.get("x-trimtab-call-id", ""),
        retryable=_is_retryable(status, code),
        retry_after_s=retry_after_s(headers.get("retry-after", "")),
    )


def error_text(body: bytes) -> tuple[str, str]:
    """Return (message, code) of an OpenAI-shaped error, each empty where it is not one."""
    try:
        error = msgspec.json.decode(body, type=_ErrorEnvelope).error
    except msgspec.MsgspecError:
        return "", ""
    if isinstance(error, str):
        return error, ""
    return error.message or "", str(error.code or error.type or "")


def retry_after_s(value: str, now_s: float | None = None) -> float | None:
    """Return a Retry-After header in seconds from now; None for none (RFC 9110, section 10.2.3)."""
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    try:
        at = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(at - (time.time() if now_s is None else now_s), 0.0)


def may_repeat(error: ApiError, *, idempotent: bool) -> bool:
    """Return whether to send again unasked: only what certainly was not done, or may be done twice."""
    if isinstance(error, GatewayUnreachable):
        return True
    if error.status in _RETRY_STATUSES:
        return error.retryable
    return idempotent and error.retryable


def _is_retryable(status: int, code: str) -> bool:
    if code in _NEVER_AGAIN:
        return False
    if status in _RETRY_STATUSES:
        return True
    return any(error.retryable for error in all_errors() if error.code == code)
