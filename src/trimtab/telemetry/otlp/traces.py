"""Calls and an application's spans as OTLP spans, joined to the application's own trace where it sent one."""

import re
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from trimtab.types import Attempt, Call, SpanEnded

from .content import words_of
from .names import (
    ATTEMPT_NAME,
    CALL_FACTS,
    INPUT_MESSAGES,
    OPERATIONS,
    OUTPUT_MESSAGES,
    PROVIDERS,
    error_of,
    request_model,
)
from .trees import attribute, attributes
from .wire import Tree

_INTERNAL, _CLIENT = 1, 3
"""Kinds of span."""

_ERROR = 2
"""Status code; a span that ended well has none, as the conventions ask."""

_SAMPLED = 1
_HAS_REMOTE, _IS_REMOTE = 0x100, 0x200
"""Bits of a span's flags: whether the next bit says something; whether the parent is of another process."""

_PARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII
)
"""W3C trace context, section 3.2."""

_RANDOM_BITS: Final = 56
"""Of a trace id's end, which W3C trace context level 2 asks to be random: sampling goes by these."""


class Place(NamedTuple):
    """Where a call stands in a trace."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty: a trace begins with it."""
    sampled: bool | None
    """What the application decided; None where the call began the trace."""


def place_of(call: Call) -> Place:
    """Return a call's ids: the same at every export, and never zero.

    The trace is the caller's, else the call's own id; the span is the last half of the call's id, 62 bits of which
    are random.
    """
    digits = call.id.replace("-", "")
    found = _PARENT.fullmatch(call.opened.trace_parent.strip())
    if found is None:
        return Place(digits, digits[16:], "", None)
    return Place(found[1], digits[16:], found[2], bool(int(found[3], 16) & _SAMPLED))


def is_sampled(place: Place, share: float) -> bool:
    """Tell whether a call's spans are exported: as the application decided, else by a share of traces."""
    if place.sampled is not None:
        return place.sampled
    return in_share(place.trace_id, share)


def in_share(trace_id: str, share: float) -> bool:
    """Tell whether a trace is among a share of all, the same at every place that looks at the id's end.

    >>> in_share("0" * 18 + "80000000000000", 0.5), in_share("0" * 18 + "7fffffffffffff", 0.5)
    (True, False)
    """
    # Consistent probability sampling: those with the largest random parts are kept (OpenTelemetry, "TraceState:
    # Probability Sampling", 2024).
    return int(trace_id[-_RANDOM_BITS // 4 :], 16) >= round((1.0 - share) * (1 << _RANDOM_BITS))


def call_spans(call: Call, *, words: bool) -> list[Tree]:
    """Return the span of a call and of each of its attempts.

    Args:
        call: with payload, where the words are wanted.
        words: whether the messages go along, as far as they were kept, and error messages with them.
    """
    place = place_of(call)
    facts: list[tuple[str, Any]] = [(fact.name, fact.of(call)) for fact in CALL_FACTS]
    if words:
        asked, answered = words_of(call)
        facts += [(INPUT_MESSAGES, asked), (OUTPUT_MESSAGES, answered)]
    operation = OPERATIONS.get(call.opened.kind, call.opened.kind)
    start_us = call.opened.opened_us
    end_us = start_us if call.closed is None else max(call.closed.closed_us, start_us)
    span: Tree = {
        "traceId": place.trace_id,
        "spanId": place.span_id,
        "parentSpanId": place.parent_id,
        "name": f"{operation} {request_model(call)}".strip(),
        "kind": _CLIENT,
        "startTimeUnixNano": start_us * 1000,
        "endTimeUnixNano": end_us * 1000,
        "attributes": attributes(facts),
        "flags": _SAMPLED | _HAS_REMOTE | (_IS_REMOTE if place.parent_id else 0),
    }
    error = error_of(call)
    if error:
        message = call.closed.error_message if words and call.closed else ""
        span["status"] = {"message": f"{error}: {message}" if message else error, "code": _ERROR}
    if call.closed is not None and call.closed.first_byte_us:
        first_us = start_us + call.closed.first_byte_us
        span["events"] = [
            {"timeUnixNano": first_us * 1000, "name": "trimtab.first_content", "attributes": []}
        ]
    attempts = call.closed.attempts if call.closed else ()
    return [span, *(_attempt_span(call, place, n, attempt) for n, attempt in enumerate(attempts))]


def _attempt_span(call: Call, place: Place, number: int, attempt: Attempt) -> Tree:
    start_us = call.opened.opened_us + attempt.started_us
    provider, _, model = attempt.target.partition("/")
    facts: list[tuple[str, Any]] = [
        ("gen_ai.provider.name", PROVIDERS.get(provider, provider)),
        ("gen_ai.request.model", model),
        ("http.response.status_code", attempt.status or None),
        ("error.type", attempt.error_code),
        ("trimtab.attempt.number", number + 1),
    ]
    digest = blake2b(f"{call.id} attempt {number}".encode(), digest_size=8).hexdigest()
    span: Tree = {
        "traceId": place.trace_id,
        "spanId": digest,
        "parentSpanId": place.span_id,
        "name": f"{ATTEMPT_NAME} {attempt.target}",
        "kind": _CLIENT,
        "startTimeUnixNano": start_us * 1000,
        "endTimeUnixNano": (start_us + max(attempt.took_us, 0)) * 1000,
        "attributes": attributes(facts),
        "flags": _SAMPLED | _HAS_REMOTE,
    }
    if attempt.error_code:
        span["status"] = {"message": attempt.error_code, "code": _ERROR}
    return span


def application_span(ended: SpanEnded, *, words: bool) -> Tree:
    """Return a span that an application made with the SDK; its attributes are words of its own."""
    facts: list[Tree] = attributes(
        [("trimtab.project", ended.project), ("trimtab.key.id", ended.key), ("error.type", ended.error)]
    )
    if words:
        facts += [attribute(name, _flat(value)) for name, value in _noted(ended).items()]
    span: Tree = {
        "traceId": ended.trace_id,
        "spanId": ended.span_id,
        "parentSpanId": ended.parent_id,
        "name": ended.name,
        "kind": _INTERNAL,
        "startTimeUnixNano": ended.started_us * 1000,
        "endTimeUnixNano": max(ended.ended_us, ended.started_us) * 1000,
        "attributes": facts,
        "flags": _SAMPLED,
    }
    if ended.error:
        span["status"] = {"message": ended.error, "code": _ERROR}
    return span


def _noted(ended: SpanEnded) -> dict[str, Any]:
    """Return a span's attributes; none where the payload policy kept a hash or nothing."""
    try:
        found = msgspec.json.decode(ended.attributes)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _flat(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) or value is None else value
