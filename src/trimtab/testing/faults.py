"""What goes wrong with providers, by name: what happens, where it strikes, what a gateway must make of it."""

from collections.abc import Mapping
from types import MappingProxyType

from .fault import Fault
from .reply import Lane
from .wire import changes, strikes

_LOST = ("provider_connection_lost",)
_MALFORMED = ("provider_malformed_reply",)
_STREAM: tuple[Lane, ...] = ("stream",)
_WHOLE: tuple[Lane, ...] = ("whole",)

_ALL = (
    Fault(
        name="refused",
        what="Nothing listens on the port.",
        strikes="connect",
        expect=("provider_unreachable",),
        door="refusing",
    ),
    Fault(
        name="stall_connect",
        what="The port neither accepts nor refuses a connection.",
        strikes="connect",
        expect=("connect_timeout",),
        door="full",
    ),
    Fault(
        name="tls_plain",
        what="The https port speaks plain HTTP.",
        strikes="connect",
        expect=("provider_tls_failed",),
        door="plain_behind_tls",
    ),
    Fault(
        name="tls_untrusted",
        what="The certificate is signed by nobody the client trusts.",
        strikes="connect",
        expect=("provider_tls_failed",),
        door="untrusted_certificate",
    ),
    Fault(
        name="reset_before_head",
        what="The connection is reset after the request was read.",
        strikes="before_head",
        expect=_LOST,
        strike=strikes.reset_before_head,
    ),
    Fault(
        name="close_before_head",
        what="The connection is closed after the request was read.",
        strikes="before_head",
        expect=_LOST,
        strike=strikes.close_before_head,
    ),
    Fault(
        name="stall_before_head",
        what="The request is read and nothing is answered.",
        strikes="before_head",
        expect=("first_byte_timeout",),
        strike=strikes.stall_before_head,
    ),
    Fault(
        name="endless_head",
        what="Headers follow headers, and the head never ends.",
        strikes="before_head",
        expect=(*_MALFORMED, "first_byte_timeout", "provider_reply_too_large", *_LOST),
        strike=strikes.endless_head,
    ),
    Fault(
        name="http09_garbage",
        what="A page comes without status line and headers.",
        strikes="before_head",
        expect=(*_MALFORMED, *_LOST),
        strike=strikes.http09_garbage,
    ),
    Fault(
        name="rate_limited_retry_after",
        what="429 with Retry-After.",
        strikes="before_head",
        expect=("rate_limited",),
        note="The next try waits at least as long as asked, or goes elsewhere.",
        change=changes.rate_limited,
    ),
    Fault(
        name="rate_limited",
        what="429 without Retry-After.",
        strikes="before_head",
        expect=("rate_limited",),
        change=changes.status(429),
    ),
    Fault(
        name="error_500_once",
        what="One 500, then all is well.",
        strikes="before_head",
        expect=("provider_failed",),
        times=1,
        note="A retry of the same target saves the call, without any fallback.",
        change=changes.status(500),
    ),
    Fault(
        name="error_500",
        what="Always 500.",
        strikes="before_head",
        expect=("provider_failed",),
        change=changes.status(500),
    ),
    Fault(
        name="error_503_once",
        what="One 503, then all is well.",
        strikes="before_head",
        expect=("provider_unavailable",),
        times=1,
        note="A retry of the same target saves the call, without any fallback.",
        change=changes.status(503),
    ),
    Fault(
        name="error_503",
        what="Always 503.",
        strikes="before_head",
        expect=("provider_unavailable",),
        change=changes.status(503),
    ),
    Fault(
        name="error_529",
        what="Always 529, which means overloaded.",
        strikes="before_head",
        expect=("provider_unavailable",),
        change=changes.status(529),
    ),
    Fault(
        name="bad_request",
        what="400 with the provider's own message.",
        strikes="before_head",
        expect=("provider_rejected",),
        rescue="cannot",
        note="Status and body reach the caller unchanged.",
        change=changes.status(400, "Unsupported parameter: 'frobnicate' is not supported with this model."),
    ),
    Fault(
        name="unauthorized",
        what="401: the provider refuses the key.",
        strikes="before_head",
        expect=("provider_auth_failed",),
        rescue="may",
        note="The caller does not see a 401: its own key is fine.",
        change=changes.status(401),
    ),
    Fault(
        name="model_not_found",
        what="404: the provider does not know the model.",
        strikes="before_head",
        expect=("provider_rejected", "model_not_found"),
        rescue="may",
        change=changes.status(404, "The model `fake-9` does not exist or you do not have access to it."),
    ),
    Fault(
        name="redirect",
        what="302 to somewhere else.",
        strikes="before_head",
        expect=("provider_failed",),
        note="The redirect is not followed: the request, and its key, would go to a stranger.",
        change=changes.status(302, location="/elsewhere"),
    ),
    Fault(
        name="html_page",
        what="200 with a login page in HTML.",
        strikes="before_content",
        expect=(*_MALFORMED, "provider_failed"),
        strike=strikes.html_page,
    ),
    Fault(
        name="empty_body",
        what="200 with a body of no bytes.",
        strikes="before_content",
        expect=("provider_empty_reply", *_MALFORMED, "stream_cut"),
        strike=strikes.empty_body,
    ),
    Fault(
        name="empty_choices",
        what="A well-formed answer with an empty list of choices.",
        strikes="before_content",
        expect=("provider_empty_reply",),
        strike=strikes.empty_choices,
    ),
    Fault(
        name="reset_after_head",
        what="The connection is reset between head and body.",
        strikes="before_content",
        expect=(*_LOST, "stream_cut"),
        strike=strikes.reset_after_head,
    ),
    Fault(
        name="close_after_head",
        what="The connection is closed between head and body.",
        strikes="before_content",
        expect=(*_LOST, "stream_cut"),
        strike=strikes.close_after_head,
    ),
    Fault(
        name="stall_after_head",
        what="After the head, not a byte.",
        strikes="before_content",
        expect=("idle_timeout", "first_byte_timeout"),
        strike=strikes.stall_after_head,
    ),
    Fault(
        name="stall_before_content",
        what="The stream opens with the role and then says nothing.",
        strikes="before_content",
        expect=("idle_timeout", "first_byte_timeout"),
        lanes=_STREAM,
        strike=strikes.stall_before_content,
    ),
    Fault(
        name="cut_before_content",
        what="The stream ends, properly framed, before its first content.",
        strikes="before_content",
        expect=("stream_cut", "provider_empty_reply"),
        lanes=_STREAM,
        strike=strikes.cut_before_content,
    ),
    Fault(
        name="malformed_event",
        what="The first event holds broken JSON.",
        strikes="before_content",
        expect=_MALFORMED,
        lanes=_STREAM,
        strike=strikes.malformed_event,
    ),
    Fault(
        name="malformed_body",
        what="The JSON body is half there, and Content-Length says that it is all.",
        strikes="before_content",
        expect=_MALFORMED,
        lanes=_WHOLE,
        strike=strikes.malformed_body,
    ),
    Fault(
        name="truncated_body",
        what="Content-Length announces more than comes before the close.",
        strikes="before_content",
        expect=(*_LOST, *_MALFORMED),
        lanes=_WHOLE,
        strike=strikes.truncated_body,
    ),
    Fault(
        name="bad_utf8",
        what="The first content holds bytes that are no UTF-8.",
        strikes="before_content",
        expect=_MALFORMED,
        strike=strikes.bad_utf8,
    ),
    Fault(
        name="huge_body",
        what="A valid answer larger than any limit.",
        strikes="before_content",
        expect=("provider_reply_too_large",),
        lanes=_WHOLE,
        strike=strikes.huge_body,
    ),
    Fault(
        name="huge_line",
        what="One event of a stream larger than any limit.",
        strikes="before_content",
        expect=("provider_reply_too_large", *_MALFORMED),
        lanes=_STREAM,
        strike=strikes.huge_line,
    ),
    Fault(
        name="error_event",
        what="An error as an event in a 200 stream, before any content.",
        strikes="before_content",
        expect=("provider_stream_error",),
        lanes=_STREAM,
        strike=strikes.error_event,
    ),
    Fault(
        name="gzip_body",
        what="A compressed body that was not asked for.",
        strikes="before_content",
        expect=(*_MALFORMED, "stream_cut"),
        passes=True,
        note="Decoded it is a good answer; passed on as it is, it is not.",
        strike=strikes.gzip_body,
    ),
    Fault(
        name="error_event_late",
        what="An error as an event in a stream, after content.",
        strikes="after_content",
        expect=("provider_stream_error",),
        lanes=_STREAM,
        strike=strikes.error_event_late,
    ),
    Fault(
        name="malformed_event_late",
        what="An event after the first content holds broken JSON.",
        strikes="after_content",
        expect=_MALFORMED,
        lanes=_STREAM,
        strike=strikes.malformed_event_late,
    ),
    Fault(
        name="stall_mid_reply",
        what="The answer begins and then stops coming.",
        strikes="after_content",
        expect=("idle_timeout",),
        strike=strikes.stall_mid_reply,
    ),
    Fault(
        name="reset_mid_reply",
        what="The connection is reset in the middle of the answer.",
        strikes="after_content",
        expect=("stream_cut", *_LOST),
        strike=strikes.reset_mid_reply,
    ),
    Fault(
        name="cut_mid_chunk",
        what="The connection is closed inside a chunk or a body.",
        strikes="after_content",
        expect=("stream_cut", *_LOST),
        strike=strikes.cut_mid_chunk,
    ),
    Fault(
        name="cut_between_events",
        what="The stream ends, properly framed, after content, without finish reason and [DONE].",
        strikes="after_content",
        expect=("stream_cut",),
        lanes=_STREAM,
        strike=strikes.cut_between_events,
    ),
    Fault(
        name="drip",
        what="A healthy answer, one byte at a time.",
        strikes="nowhere",
        passes=True,
        note="Slow is no error while no deadline passes.",
        strike=strikes.drip,
    ),
    Fault(
        name="missing_usage",
        what="A healthy answer that never says what it used.",
        strikes="nowhere",
        passes=True,
        note="Usage is estimated and flagged, never zero.",
        change=changes.no_usage,
    ),
    Fault(
        name="duplicate_chunk",
        what="The first piece of the text comes twice.",
        strikes="nowhere",
        passes=True,
        note="Nobody can tell it from a model that repeats itself: it is passed on unchanged.",
        lanes=_STREAM,
        change=changes.duplicated,
    ),
    Fault(
        name="wrong_model",
        what="The answer names another model than the one asked for.",
        strikes="nowhere",
        passes=True,
        note="The model served is recorded as the answer names it.",
        change=changes.other_model,
    ),
)

FAULTS: Mapping[str, Fault] = MappingProxyType({fault.name: fault for fault in _ALL})
"""Every fault by name."""


def find_fault(fault: Fault | str) -> Fault | None:
    """Return the fault of that name, or the one given; None for an empty name.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(fault, Fault):
        return fault
    if not fault:
        return None
    if fault not in FAULTS:
        raise ValueError(f"there is no fault {fault!r}; expected one of {', '.join(FAULTS)}")
    return FAULTS[fault]
