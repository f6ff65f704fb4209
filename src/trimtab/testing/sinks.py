"""The conformance kit of sinks: what passes it may stand under `trimtab.sinks`."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from trimtab.telemetry import Batch, Sent, Sink
from trimtab.types import SpanEnded, new_id

from .calls import sample_call, unfinished

WORD = "hippopotamus"
"""Stands in every text of the kit's calls that somebody wrote: it must not get out unasked."""


async def check_sink(
    make: Callable[[], Sink], delivered: Callable[[], Iterable[str]], said: Callable[[], str] | None = None
) -> None:
    """Hold a sink to its promises.

    Args:
        make: returns a new sink each time, all to the same other side, which takes what it is sent.
        delivered: ids of the calls that are on the other side.
        said: all that left, as text; for sinks whose settings do not ask for words: none may be in it.

    Raises:
        AssertionError: with the promise that does not hold.
    """
    first, again = _batch(), _batch()
    sink = make()
    try:
        await _takes(sink, first)
        _holds(delivered(), first, "once `send` returns, the calls are on the other side")
        await _takes(sink, first)  # after a crash the same comes again
        await _takes(sink, Batch(spans=first.spans))
        await _takes(sink, Batch())
        if sink.every_s:
            await sink.pulse({"requests": 3, "in_flight": 1})
            await sink.pulse({})
        await _takes(sink, again)
    finally:
        await sink.aclose()
    await sink.aclose()  # closing twice is no error
    other = make()
    try:
        await _takes(other, _batch())
    finally:
        await other.aclose()
    _holds(delivered(), first, "what was delivered stays")
    _holds(delivered(), again, "a later batch is delivered too")
    assert said is None or WORD not in said(), "words left, and no setting asks for them"


async def _takes(sink: Sink, batch: Batch) -> None:
    sent = await sink.send(batch)
    assert isinstance(sent, Sent), f"`send` returns Sent, and not {sent!r}"
    assert sent.rejected == 0, f"{sent.rejected} of a sound batch are rejected: {sent.note}"


def _holds(found: Iterable[str], batch: Batch, promise: str) -> None:
    lacking = {call.id for call in batch.calls} - set(found)
    assert not lacking, f"{promise}; there is nothing of {sorted(lacking)[:3]}"


def _batch() -> Batch:
    """Return calls that ended in every way, and spans with and without attributes."""
    answer = msgspec.json.encode({"choices": [{"message": {"role": "assistant", "content": WORD}}]})
    words: dict[str, Any] = {
        "question": WORD,
        "response": answer,
        "variables": msgspec.json.encode({"animal": WORD}),
    }
    calls = [
        sample_call(id=new_id(), **words),
        sample_call(id=new_id(), trace_parent="", stream=False, first_byte_us=0, **words),
        sample_call(
            id=new_id(), kind="embeddings", request=msgspec.json.encode({"input": WORD}), response=b""
        ),
        sample_call(
            id=new_id(), state="error", error_code="total_timeout", error_message=WORD, attempts=(), **words
        ),
        sample_call(id=new_id(), state="cancelled", error_code="client_cancelled", **words),
        sample_call(id=new_id(), payload="none", request=b"", response=b"", variables=b""),
        sample_call(id=new_id(), payload="hash", request=bytes(32), response=bytes(range(32)), variables=b""),
        sample_call(
            id=new_id(), request=b"\xff{", response=b"[1,", user="日本 \N{SNOWMAN}\x00\ud7ff", tags=("",)
        ),
        unfinished(sample_call(id=new_id(), **words)),
    ]
    trace = new_id().replace("-", "")
    noted = msgspec.json.encode({"error_message": WORD, "n": 1, "list": [1, None], "none": None})
    spans = [
        SpanEnded(trace, "b7ad6b7169203331", "", "answer", "default", 10, 20, "", noted, "key_1"),
        SpanEnded(
            trace, "b7ad6b7169203332", "b7ad6b7169203331", "look up", "default", 12, 11, "ValueError", b""
        ),
    ]
    return Batch(calls=tuple(calls), spans=tuple(spans))
