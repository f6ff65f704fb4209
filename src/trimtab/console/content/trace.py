"""A trace as bars on one scale of time, in shares of its width, for an SVG a row."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from trimtab.console.shown import duration
from trimtab.storage import Piece, Trace, nested
from trimtab.types import Call, SpanEnded

from .conversation import decode, pretty

DEEPEST = 12
"""Steps of indentation; what is nested deeper stands as far in."""

_LONGEST = 20_000
"""Characters of one attribute that a page shows."""

_ALL = 400_000
"""Characters of all attributes that a page shows."""

_LEAST = 0.4
"""Percent of the width below which a bar could not be seen."""

_TICKS = 5
"""At most, beside the two ends."""

_STEPS = (1, 2, 5)
_SHA256_BYTES = 32


@dataclass(frozen=True)
class Fact:
    """One attribute of a span."""

    name: str
    text: str
    cut: int
    """Characters left out."""


@dataclass(frozen=True)
class Bar:
    """One span or call."""

    depth: int
    x: float
    """Percent of the scale, as `width` is."""
    width: float
    began: str
    took: str
    span: SpanEnded | None
    call: Call | None
    facts: tuple[Fact, ...] = ()
    hashed: str = ""
    """The attributes' SHA-256, where no more of them was kept."""


@dataclass(frozen=True)
class Picture:
    """The bars of a trace, and its round times as (percent, text)."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    started_us: int
    took_us: int
    name: str
    """Of the piece that started first."""


def picture(trace: Trace) -> Picture:
    """Return the drawing of a trace, which has one span or call at least."""
    pieces = nested(trace)
    started_us = min(piece.started_us for piece in pieces)
    total_us = max(1, max(piece.ended_us for piece in pieces) - started_us)
    room = _ALL
    bars = []
    for piece in pieces:
        facts, hashed = _facts(piece.span, room)
        room -= sum(len(fact.text) for fact in facts)
        x = 100 * (piece.started_us - started_us) / total_us
        width = max(_LEAST, 100 * (piece.ended_us - piece.started_us) / total_us)
        bars.append(
            Bar(
                depth=min(piece.depth, DEEPEST),
                x=round(min(x, 100 - _LEAST), 2),
                width=round(width, 2),
                began=duration((piece.started_us - started_us) / 1000),
                took=duration(_took_ms(piece)),
                span=piece.span,
                call=piece.call,
                facts=facts,
                hashed=hashed,
            )
        )
    first = min(pieces, key=lambda piece: (piece.started_us, -piece.ended_us))
    return Picture(tuple(bars), _ticks(total_us), started_us, total_us, _name(first))


def around(trace: Trace, call: Call) -> list[SpanEnded]:
    """Return the spans that a call was made in, the outermost first; it need not be one of the trace's."""
    depth, found = -1, []
    only = Trace(trace_id=trace.trace_id, spans=trace.spans, calls=(call,))
    for piece in reversed(nested(only)):
        if piece.call is not None:
            depth = piece.depth
        elif piece.span is not None and piece.depth == depth - 1:
            found.append(piece.span)
            depth = piece.depth
    return found[::-1]


def _took_ms(piece: Piece) -> float | None:
    if piece.call is not None:
        return piece.call.latency_ms
    return (piece.ended_us - piece.started_us) / 1000


def _name(piece: Piece) -> str:
    if piece.span is not None:
        return piece.span.name
    call = piece.call
    return "" if call is None else (call.closed.model if call.closed else "") or call.opened.model


def _facts(span: SpanEnded | None, room: int) -> tuple[tuple[Fact, ...], str]:
    """Return a span's attributes as texts, as far as there is room, and their hash where that is all there is."""
    if span is None or not span.attributes:
        return (), ""
    if len(span.attributes) == _SHA256_BYTES and span.attributes[:1] != b"{":
        return (), span.attributes.hex()
    return tuple(_fact(name, text, room) for name, text in _texts(span.attributes)), ""


def _texts(kept: bytes) -> Iterator[tuple[str, str]]:

    found = decode(kept)
    if not isinstance(found, dict):
        yield "", pretty(kept)
        return
    for name, value in found.items():
        yield str(name), value if isinstance(value, str) else pretty(msgspec.json.encode(value))


def _fact(name: str, text: str, room: int) -> Fact:
    shown = text[: max(0, min(_LONGEST, room))]
    return Fact(name, shown, len(text) - len(shown))


def _ticks(total_us: int) -> tuple[tuple[float, str], ...]:
    """Return two to five round times."""
    step = next(
        size * 10**power
        for power in range(14)
        for size in _STEPS
        if size * 10**power * (_TICKS + 1) >= total_us
    )
    return tuple((round(100 * at / total_us, 2), duration(at / 1000)) for at in range(step, total_us, step))
