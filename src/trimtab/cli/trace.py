"""`trimtab trace`: what an application did around its calls, as a tree."""

import re
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter, validators

from trimtab.storage import Piece, Trace, TraceRow, attributes_of, nested
from trimtab.types import SystemClock, parse_trace_parent

from .calls import find_call
from .options import AsJson, Place
from .reach import Calls, open_calls, trace_json
from .terminal import (
    Cell,
    Column,
    CommandFailed,
    note,
    one_line,
    printable,
    show_duration,
    show_iso,
    show_time,
    write,
    write_json,
    write_table,
)

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_MOST: Final = 10_000
"""Spans, and calls, of one trace."""

_STYLES: Final = {"error": "red", "cancelled": "yellow", "unfinished": "magenta"}
_LONGEST_FACT: Final = 200


def trace(
    trace_id: str = "",
    /,
    place: Place | None = None,
    *,
    project: str = "",
    before: str = "",
    limit: Annotated[int, Parameter(show_default=True, validator=validators.Number(gte=1, lte=500))] = 50,
    facts: Annotated[bool, Parameter(negative=())] = False,
    json: AsJson = False,
) -> int:
    """Show one trace: its spans and the calls made in them, as a tree. Without an id, list the newest traces.

    Args:
        trace_id: A trace's id, a call's id (its trace), or `last` for the newest trace.
        place: Which installation.
        project: List this project's traces; else all.
        before: The next page of the list: what its end says.
        limit: At most so many in the list.
        facts: Show the attributes that were kept too.
        json: Print JSON with stable fields.
    """
    with open_calls(place or Place()) as store:
        if not trace_id:
            rows = store.traces(project=project, before=before, limit=limit)
        else:
            found = _find(store, trace_id, project)
    if not trace_id:
        return _list(rows, limit, json=json)
    if json:
        write_json(trace_json(found))
    else:
        _write(found, facts=facts)
    return 0


def _find(store: Calls, wanted: str, project: str) -> Trace:
    """Return the trace that is wanted.

    Raises:
        CommandFailed: there is none.
    """
    trace_id = wanted.lower()
    if wanted == "last":
        newest = store.traces(project=project, limit=1)
        if not newest:
            raise CommandFailed(
                "no traces are recorded yet", mend="mark a function with @observe", exit_code=1
            )
        trace_id = newest[0].trace_id
    elif parsed := parse_trace_parent(wanted):
        trace_id = parsed[0]
    elif not _TRACE_ID.fullmatch(trace_id):
        opened = find_call(store, wanted).opened
        parsed = parse_trace_parent(opened.trace_parent)
        if parsed is None:
            raise CommandFailed(f"call {opened.id} was made in no trace", exit_code=1)
        trace_id = parsed[0]
    found = store.trace(trace_id, most_spans=_MOST, most_calls=_MOST)
    if found is None:
        mend = "`trimtab trace` lists those that are recorded"
        raise CommandFailed(f"there is no trace {wanted!r}", mend=mend, exit_code=1)
    return found


def _list(rows: list[TraceRow], limit: int, *, json: bool) -> int:
    older = rows[-1].place if len(rows) == limit else None
    if json:
        write_json({"traces": [msgspec.structs.asdict(row) for row in rows], "before": older})
        return 0
    now_us = SystemClock().now_us()
    columns = (
        Column(title="time"), Column(title="trace"), Column(title="first span", fluid=True), Column(title="project"),
        Column(title="spans", align="right"), Column(title="calls", align="right"),
        Column(title="errors", align="right"), Column(title="took", align="right"),
    )  # fmt: skip
    write_table(
        columns,
        [
            [
                show_time(row.started_us, now_us), Cell(row.trace_id, "dim"), one_line(row.name),
                one_line(row.project), str(row.spans), str(row.calls),
                Cell(str(row.errors), "red" if row.errors else ""),
                show_duration((row.ended_us - row.started_us) / 1000),
            ]
            for row in rows
        ],
    )  # fmt: skip
    if not rows:
        note("No traces recorded yet.")
    elif older:
        note(f"Older ones: --before {older}", "dim")
    return 0


def _write(trace: Trace, *, facts: bool) -> None:
    pieces = nested(trace)
    began_us = min(piece.started_us for piece in pieces)
    took_ms = (max(piece.ended_us for piece in pieces) - began_us) / 1000
    write(f"trace  {trace.trace_id}")
    write(f"began  {show_iso(began_us)}, took {show_duration(took_ms)}")
    write()
    columns = (
        Column(title="what", fluid=True), Column(title="state"), Column(title="began", align="right"),
        Column(title="took", align="right"), Column(title="call"),
    )  # fmt: skip
    write_table(
        columns, [_row(piece, guide, began_us) for piece, guide in zip(pieces, _guides(pieces), strict=True)]
    )
    if trace.more_spans or trace.more_calls:
        note(f"Not shown: {trace.more_spans} spans and {trace.more_calls} calls.")
    if facts:
        _write_facts(pieces)


def _row(piece: Piece, guide: str, began_us: int) -> list[Cell]:
    state, took_ms, name, call_id = "", (piece.ended_us - piece.started_us) / 1000, "", ""
    style = ""
    if piece.call is not None:
        closed = piece.call.closed
        name = f"call {(closed.model if closed else '') or piece.call.opened.model}"
        state = closed.error_code if closed and closed.error_code else piece.call.state
        style, call_id = _STYLES.get(piece.call.state, "green"), piece.call.id
    elif piece.span is not None:
        name, state, style = piece.span.name, piece.span.error, "red"
    open_call = piece.call is not None and piece.call.closed is None
    return [
        Cell(guide + one_line(name)),
        Cell(one_line(state), style),
        Cell("+" + show_duration((piece.started_us - began_us) / 1000)),
        Cell("-" if open_call else show_duration(took_ms)),
        Cell(call_id, "dim"),
    ]


def _guides(pieces: list[Piece]) -> list[str]:
    """Return the lines of the tree before each piece: drawn from the last upwards, which knows what still comes."""
    guides = []
    going_on: set[int] = set()
    for piece in reversed(pieces):
        going_on = {depth for depth in going_on if depth <= piece.depth}
        lines = ["│  " if depth in going_on else "   " for depth in range(1, piece.depth)]
        last = ("├─ " if piece.depth in going_on else "└─ ") if piece.depth else ""
        guides.append("".join(lines) + last)
        going_on.add(piece.depth)
    return guides[::-1]


def _write_facts(pieces: list[Piece]) -> None:
    for piece in pieces:
        kept = attributes_of(piece.span) if piece.span is not None else None
        if piece.span is None or not kept:
            continue
        write()
        write(printable(piece.span.name))
        for name, value in kept.items():
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            write(f"  {printable(str(name))}: {one_line(text, _LONGEST_FACT)}")
