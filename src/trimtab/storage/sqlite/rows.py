"""A Call as a row of `calls`, and back: nothing is lost but the payload, which is stored beside it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from trimtab.storage.days import id_blob, id_text
from trimtab.types import Attempt, Call, Closed, FeedbackGiven, Opened, Usage

from .packed.names import NAMED, Names

_OPENED = (
    "opened_us",
    "project",
    "purpose",
    "kind",
    "route",
    "channel",
    "opened_release",
    "arm",
    "model_asked",
    "opened_model",
    "params_hash",
    "stream",
    "key",
    "session",
    "user",
    "tags",
    "client",
    "trace_parent",
    "parent_call",
    "replay_of",
    "payload_policy",
    "prompt_name",
    "prompt_version",
    "prompt_hash",
    "prompt_label",
    "opened_epoch",
)
_CLOSED = (
    "closed_us",
    "first_byte_us",
    "status",
    "error_code",
    "error_message",
    "closed_model",
    "model_served",
    "provider",
    "provider_response_id",
    "provider_request_id",
    "fingerprint",
    "finish_reason",
    "attempts",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "estimated",
    "cost_nusd",
    "price_version",
    "degraded",
    "cache_hit",
    "findings",
    "closed_release",
    "closed_epoch",
    "usage_more",
    "reported_cost_nusd",
)
COLUMNS = ("place", "id", "state", *_OPENED, *_CLOSED, "doc")
"""In this order. `usage_more` is what of `Usage` few calls have, as a MessagePack array of the fields after
`estimated`, without the reported cost; NULL where all are zero."""
_NAMED_AT = tuple(at for at, column in enumerate(COLUMNS) if column in NAMED)
_NO_END: tuple[Any, ...] = (None, None, None, "", None, None, None, "", None, None, None, None, None)
_NO_END += (*(0,) * 9, None, None, None, None, None, None, None, None)
_CLOSED_AT = 3 + len(_OPENED)

FEEDBACK_COLUMNS = (
    "id",
    "call_id",
    "at_us",
    "project",
    "name",
    "score",
    "value",
    "comment",
    "correction",
    "user",
    "key",
)

_encode = msgspec.msgpack.Encoder().encode
_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_attempts = msgspec.msgpack.Decoder(tuple[Attempt, ...]).decode
_more = msgspec.msgpack.Decoder(tuple[int | str, ...]).decode
_USUAL = Usage.__struct_fields__.index("estimated") + 1
"""How many fields of `Usage` have a column each."""
_NO_MORE = msgspec.structs.astuple(Usage())[_USUAL:-1]
_findings = msgspec.msgpack.Decoder(tuple[dict[str, Any], ...]).decode


def state_of(call: Call) -> str:
    """Return how the call ended, by its `Closed`."""
    return "unfinished" if call.closed is None else call.closed.state


def to_row(call: Call, blob: bytes, place: int, doc: int, names: Names) -> list[Any]:
    """Return a call's values in the order of `COLUMNS`."""
    row = [*_values(call, blob, place), doc]
    for at in _NAMED_AT:
        if row[at]:
            row[at] = names.number(row[at])
    return row


def _values(call: Call, blob: bytes, place: int) -> tuple[Any, ...]:
    o, c = call.opened, call.closed
    opened = (
        place,
        blob,
        state_of(call),
        o.opened_us,
        o.project,
        o.purpose,
        o.kind,
        o.route,
        o.channel,
        o.release,
        o.arm,
        o.model_asked,
        o.model,
        o.params_hash,
        o.stream,
        o.key,
        o.session,
        o.user,
        msgspec.json.encode(o.tags).decode() if o.tags else "",
        o.client,
        o.trace_parent,
        o.parent_call,
        o.replay_of,
        o.payload,
        o.prompt_name,
        o.prompt_version,
        o.prompt_hash,
        o.prompt_label,
        o.epoch,
    )
    return opened + (_no_end(o.reserved_nusd) if c is None else _closed_values(c))


def _no_end(reserved_nusd: int) -> tuple[Any, ...]:
    """Return the end of a call that has none: it may have been billed, and counts at what budgets held for it."""
    if not reserved_nusd:
        return _NO_END
    estimated = _CLOSED.index("estimated")
    return (*_NO_END[:estimated], 1, reserved_nusd, *_NO_END[estimated + 2 :])


def _closed_values(c: Closed) -> tuple[Any, ...]:
    usage = msgspec.structs.astuple(c.usage)
    more = usage[_USUAL:-1]
    return (
        c.closed_us,
        c.first_byte_us,
        c.status,
        c.error_code,
        c.error_message,
        c.model,
        c.model_served,
        c.provider,
        c.provider_response_id,
        c.provider_request_id,
        c.fingerprint,
        c.finish_reason,
        _encode(c.attempts) if c.attempts else None,
        *usage[:_USUAL],
        c.cost_nusd,
        c.price_version,
        c.degraded,
        c.cache_hit,
        _encode(c.findings) if c.findings else None,
        c.release,
        c.epoch,
        _encode(more) if any(more) else None,
        c.usage.reported_cost_nusd,
    )


def named_row(row: Sequence[Any], names: Names) -> list[Any]:
    """Return a row of the file in the order of `COLUMNS`, with the texts instead of their numbers."""
    found = list(row)
    for at in _NAMED_AT:
        if type(found[at]) is int:
            found[at] = names.value(found[at])
    return found


def from_row(
    row: Sequence[Any], parts: tuple[bytes, bytes, bytes], feedback: tuple[FeedbackGiven, ...] = ()
) -> Call:
    """Return the call of a row in the order of `COLUMNS` without numbers of names, with its payload's parts."""
    request, response, variables = parts
    call_id = id_text(row[1])
    o = row[3:_CLOSED_AT]
    tags = _tags(o[15]) if o[15] else ()
    head: tuple[Any, ...] = (call_id, *o[:11], bool(o[11]), *o[12:15], tags, *o[16:21], request)
    held = row[_CLOSED_AT + 21] if row[_CLOSED_AT] is None else 0  # an end says what it came to
    values: tuple[Any, ...] = (*head, *o[21:25], variables, o[25], held)
    c = row[_CLOSED_AT:]
    opened = Opened(*values)
    if c[0] is None:
        return Call(opened=opened, closed=None, state=row[2], feedback=feedback)
    parts_of_usage: tuple[Any, ...] = (*c[13:20], bool(c[20]))
    if c[28] is not None or c[29] is not None:
        more = _more(c[28]) if c[28] is not None else _NO_MORE
        parts_of_usage = (*parts_of_usage, *more[: len(_NO_MORE)], c[29])
    attempts = _attempts(c[12]) if c[12] else ()
    head = (call_id, c[0], c[1], row[2], *c[2:12], attempts, Usage(*parts_of_usage), *c[21:23])
    findings = _findings(c[25]) if c[25] else ()
    values = (*head, bool(c[23]), bool(c[24]), response, findings, *c[26:28])
    return Call(opened=opened, closed=Closed(*values), state=row[2], feedback=feedback)


def with_feedback(calls: Iterable[Call], given: Mapping[str, list[FeedbackGiven]]) -> list[Call]:
    """Return calls with the feedback that was given on them, by their ids, oldest first."""
    return [
        msgspec.structs.replace(call, feedback=tuple(sorted(given[call.id], key=lambda f: (f.at_us, f.id))))
        if call.id in given
        else call
        for call in calls
    ]


def feedback_row(given: FeedbackGiven) -> tuple[Any, ...]:
    """Return feedback's values in the order of `FEEDBACK_COLUMNS`."""
    values = msgspec.structs.astuple(given)[
        : len(FEEDBACK_COLUMNS)
    ]  # by now a response id has become a call id
    return (values[0], id_blob(given.call_id), *values[2:])


def feedback_from_row(row: Sequence[Any]) -> FeedbackGiven:
    """Return the feedback of a row in the order of `FEEDBACK_COLUMNS`."""
    return FeedbackGiven(row[0], id_text(row[1]), *row[2:])
