"""A trace as people look at it: spans and calls, each below the span that it was made in. Pure."""

from typing import NamedTuple

from trimtab.types import Call, SpanEnded, parse_trace_parent

from .span_port import Trace


class Piece(NamedTuple):
    """One span or one call of a trace."""

    depth: int
    """0: it was made in no span of those that are here."""
    started_us: int
    ended_us: int
    """Of a call that never finished: its start."""
    span: SpanEnded | None = None
    call: Call | None = None


def nested(trace: Trace) -> list[Piece]:
    """Return a trace's spans and calls in the order of their starts, each followed by what was made in it.

    Whatever its span is not here stands outermost, and so does one of a ring of spans that name each other.
    """
    there = {span.span_id for span in trace.spans}
    spans = [Piece(0, span.started_us, span.ended_us, span=span) for span in trace.spans]
    inside: dict[str, list[Piece]] = {}
    for piece in sorted([*spans, *map(_of_call, trace.calls)], key=lambda piece: piece.started_us):
        around = _around(piece)
        inside.setdefault(around if around in there else "", []).append(piece)
    order: list[Piece] = []
    seen: set[str] = set()
    # Nothing leads into a ring from outside: the first of its spans that comes up here opens it.
    for outermost in [*inside.pop("", []), *spans]:
        waiting = [outermost]
        while waiting:
            piece = waiting.pop()
            if piece.span is not None:
                if piece.span.span_id in seen:
                    continue
                seen.add(piece.span.span_id)
                below = inside.pop(piece.span.span_id, [])
                waiting += [one._replace(depth=piece.depth + 1) for one in reversed(below)]
            order.append(piece)
    return order


def _of_call(call: Call) -> Piece:
    began = call.opened.opened_us
    return Piece(0, began, began if call.closed is None else call.closed.closed_us, call=call)


def _around(piece: Piece) -> str:
    if piece.span is not None:
        return piece.span.parent_id
    parsed = parse_trace_parent(piece.call.opened.trace_parent) if piece.call is not None else None
    return parsed[1] if parsed is not None else ""
