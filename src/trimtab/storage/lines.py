"""A call or a span as one line of JSON and back, byte for byte: the format of `trimtab export` and `import`.

Fields have the names of `types.Opened`, `Closed`, `Usage`, `Attempt`, `FeedbackGiven` and `SpanEnded`. What a caller,
a provider or an application wrote (request, variables, response, attributes) stands in the line as it came where it is
one line of JSON, an object or array; else as `{"$text": ...}`, or as `{"$base64": ...}` where it is no text. Nothing
at all is null.
"""

import base64
import re
from typing import Any, Final

import msgspec

from trimtab.types import (
    Attempt,
    Call,
    CallState,
    Closed,
    FeedbackGiven,
    FormatTooNew,
    Opened,
    SpanEnded,
    Usage,
)

from .days import id_blob

LINE_FORMAT = 1
_WORDS: Final = ("request", "variables", "response", "attributes")
_INT64 = 1 << 63
_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}", re.ASCII)


class _Text(msgspec.Struct, forbid_unknown_fields=True, rename={"text": "$text"}):
    text: str


class _Base64(msgspec.Struct, forbid_unknown_fields=True, rename={"base64": "$base64"}):
    base64: str


def _named(kind: type[msgspec.Struct], **other: object) -> type[msgspec.Struct]:
    """Return a struct of the same fields, that is written by their names instead of in their order."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        hint = other.get(field.name, field.type)
        if field.default is not msgspec.NODEFAULT or field.name in _WORDS:
            fields.append((field.name, hint, msgspec.Raw(b"null") if field.name in _WORDS else field.default))
        else:
            fields.append((field.name, hint))
    return msgspec.defstruct(f"{kind.__name__}Line", fields, kw_only=True)


_UsageLine: Any = _named(Usage)
_AttemptLine: Any = _named(Attempt)
_FeedbackLine: Any = _named(FeedbackGiven)
_OpenedLine: Any = _named(Opened, request=msgspec.Raw, variables=msgspec.Raw)
_ClosedLine: Any = _named(Closed, response=msgspec.Raw, usage=_UsageLine, attempts=tuple[_AttemptLine, ...])


_SpanFields: Any = _named(SpanEnded, attributes=msgspec.Raw)


class _Format(msgspec.Struct, frozen=True):
    """What every line has, in any format."""

    format: int


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    format: int = LINE_FORMAT
    state: CallState
    opened: _OpenedLine
    closed: _ClosedLine | None
    feedback: tuple[_FeedbackLine, ...] = ()


class _SpanLine(msgspec.Struct, frozen=True, kw_only=True):
    format: int = LINE_FORMAT
    span: _SpanFields


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode
_decode_span = msgspec.json.Decoder(_SpanLine).decode
_decode_format = msgspec.json.Decoder(_Format).decode
_decode_kept = msgspec.json.Decoder(_Text | None).decode
_decode_base64 = msgspec.json.Decoder(_Base64).decode


def call_line(call: Call) -> bytes:
    """Return a call as one line of JSON, with its line end. About 20 µs."""
    closed = None
    if call.closed is not None:
        fields = msgspec.structs.asdict(call.closed)
        fields["usage"] = _UsageLine(**msgspec.structs.asdict(call.closed.usage))
        fields["attempts"] = tuple(_AttemptLine(**msgspec.structs.asdict(a)) for a in call.closed.attempts)
        closed = _ClosedLine(**_with_words(fields, _words))
    opened = _OpenedLine(**_with_words(msgspec.structs.asdict(call.opened), _words))
    feedback = tuple(_FeedbackLine(**msgspec.structs.asdict(given)) for given in call.feedback)
    return _encode(_Line(state=call.state, opened=opened, closed=closed, feedback=feedback)) + b"\n"


def read_call_line(line: bytes) -> Call:
    """Return the call of a line; fields that a later version added are left out.

    Raises:
        FormatTooNew: a newer Trimtab wrote the line in another format.
        ValueError: it is no such line.
    """
    try:
        found = _decode(line)
        if found.format > LINE_FORMAT:
            raise _too_new(found.format)
        opened = Opened(**_with_words(msgspec.structs.asdict(found.opened), _bytes))
        closed = None if found.closed is None else _closed(found.closed)
        feedback = tuple(FeedbackGiven(**msgspec.structs.asdict(given)) for given in found.feedback)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse_newer(line)
        raise ValueError(f"no call as `trimtab export` writes it: {error}") from error
    call = Call(opened=opened, closed=closed, state=found.state, feedback=feedback)
    _check(call)
    return call


def span_line(span: SpanEnded) -> bytes:
    """Return a span as one line of JSON, with its line end."""
    fields = _SpanFields(**_with_words(msgspec.structs.asdict(span), _words))
    return _encode(_SpanLine(span=fields)) + b"\n"


def read_line(line: bytes) -> Call | SpanEnded:
    """Return the call or the span of a line; see `read_call_line`.

    Raises:
        FormatTooNew: a newer Trimtab wrote the line in another format.
        ValueError: it is no such line.
    """
    try:
        return read_call_line(line)
    except ValueError as error:
        span = _span(line)
        if span is None:
            raise
        _check_span(span, error)
        return span


def _span(line: bytes) -> SpanEnded | None:
    try:
        found = _decode_span(line).span
        return SpanEnded(**_with_words(msgspec.structs.asdict(found), _bytes))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _check_span(span: SpanEnded, error: ValueError) -> None:
    """Raise ValueError for what no store could hold, so that it is known by its line."""
    if any(_HEX.fullmatch(one) is None for one in (span.trace_id, span.span_id, span.parent_id or "0" * 16)):
        raise ValueError(f"span {span.id[:80]!r} must have ids of 32 and 16 hex digits") from error
    if not 0 <= span.started_us <= span.ended_us < _INT64:
        raise ValueError(f"span {span.id!r} must start after 1970 and before it ends") from error


def _closed(line: Any) -> Closed:  # noqa: ANN401 - a struct made at run time
    fields = _with_words(msgspec.structs.asdict(line), _bytes)
    fields["usage"] = Usage(**msgspec.structs.asdict(line.usage))
    fields["attempts"] = tuple(Attempt(**msgspec.structs.asdict(attempt)) for attempt in line.attempts)
    return Closed(**fields)


def _with_words(fields: dict[str, Any], change: Any) -> dict[str, Any]:  # noqa: ANN401 - either direction
    return {name: change(value) if name in _WORDS else value for name, value in fields.items()}


def _words(raw: bytes) -> msgspec.Raw:
    if not raw:
        return msgspec.Raw(b"null")
    if _stands_for_itself(raw):
        return msgspec.Raw(raw)
    try:
        return msgspec.Raw(_encode(_Text(raw.decode())))
    except UnicodeDecodeError:
        return msgspec.Raw(_encode(_Base64(base64.b64encode(raw).decode())))


def _stands_for_itself(raw: bytes) -> bool:
    if raw[:1] + raw[-1:] not in (b"{}", b"[]") or b"\n" in raw or b"\r" in raw or raw[:3] == b'{"$':
        return False
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _bytes(raw: msgspec.Raw) -> bytes:
    kept = bytes(raw)
    if kept == b"null":
        return b""
    if kept[:1] not in (b"{", b"["):
        raise msgspec.DecodeError(f"words must be an object, an array or null, and not {kept[:20]!r}")
    if kept[:3] != b'{"$':
        return kept
    if kept.startswith(b'{"$base64"'):
        try:
            return base64.b64decode(_decode_base64(kept).base64, validate=True)
        except ValueError as error:
            raise msgspec.DecodeError(f"no base64: {error}") from error
    text = _decode_kept(kept)
    return text.text.encode() if text is not None else b""


def _check(call: Call) -> None:
    """Raise ValueError for what no store could hold, so that it is known by its line."""
    id_blob(call.id)
    if call.closed is not None and (call.closed.id != call.id or call.closed.state != call.state):
        raise ValueError(f"opening and end of call {call.id!r} do not belong together")
    if (call.closed is None) != (call.state == "unfinished"):
        raise ValueError(f"call {call.id!r} is {call.state!r}, and its end says otherwise")
    if any(given.call_id != call.id for given in call.feedback):
        raise ValueError(f"feedback of another call stands at call {call.id!r}")
    structs: list[Any] = [call.opened, *call.feedback]
    if call.closed is not None:
        structs += [call.closed, call.closed.usage]
    numbers = (value for struct in structs for value in msgspec.structs.astuple(struct) if type(value) is int)
    if not all(-_INT64 <= number < _INT64 for number in numbers):
        raise ValueError(f"call {call.id!r} has a number beyond 64 bits")


def _refuse_newer(line: bytes) -> None:
    try:
        found = _decode_format(line).format
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if found > LINE_FORMAT:
        raise _too_new(found)


def _too_new(found: int) -> FormatTooNew:
    return FormatTooNew(
        f"a line has format {found}, and this Trimtab reads up to {LINE_FORMAT}; import it with the newer Trimtab "
        "that wrote it"
    )
