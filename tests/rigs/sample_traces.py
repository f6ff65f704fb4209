"""Traces as applications tell of them, around calls of a sample day; and the list of them, computed the plain way."""

import json
from typing import Any

import msgspec

from trimtab.storage import Trace, TraceRow
from trimtab.types import Call, SpanEnded, parse_trace_parent

AGENT = f"{0xA6E27:032x}"
"""A trace with nested spans, calls in three of them, an error that is caught, and spans side by side."""

PLAN: tuple[tuple[int, int, str, int, int, str, dict[str, Any]], ...] = (
    (1, 0, "answer_customer", 0, 9_400, "", {
        "args": {"question": "注文した商品がまだ届きません。いつ届きますか？", "order": "HG-20418"},
        "result": "お荷物は現在大阪配送センターにあり、明日の午前中にお届けの予定です。",
    }),
    (2, 1, "plan", 40, 1_700, "", {}),
    (3, 1, "gather", 1_750, 5_100, "", {"documents": 3}),
    (4, 3, "search_orders", 1_760, 2_300, "", {"args": {"order": "HG-20418"}, "result": ["in transit"]}),
    (5, 3, "search_policies", 1_765, 3_900, "", {"args": {"words": ["delivery", "late"]}, "store": "wiki"}),
    (6, 5, "embed", 1_800, 2_000, "", {"texts": 2}),
    (7, 3, "ask_carrier", 1_770, 5_050, "TimeoutError", {"error_message": "no answer within 3 s"}),
    (8, 1, "write_reply", 5_200, 9_350, "", {"tone": "polite"}),
    (9, 8, "check_facts", 8_000, 9_300, "", {}),
)  # fmt: skip
"""Number, number around it, name, begin and end in milliseconds, error, attributes."""

CALLS = ((2, 120), (8, 5_300), (9, 8_050))
"""Span and begin of the calls in it."""


def spans_at(at_us: int, plan: Any = PLAN, trace_id: str = AGENT, **more: Any) -> list[SpanEnded]:
    """Return a plan's spans, begun at a time."""
    made = [
        SpanEnded(
            trace_id, f"{own:016x}", f"{around:016x}" if around else "", name, "default", at_us + begin * 1000,
            at_us + end * 1000, error, json.dumps(facts, ensure_ascii=False).encode() if facts else b"", "key_1",
        )
        for own, around, name, begin, end, error, facts in plan
    ]  # fmt: skip
    return [msgspec.structs.replace(span, **more) for span in made]


def moved_into(call: Call, span: int, at_us: int, trace_id: str = AGENT) -> Call:
    """Return a call as if it had been made in a span, at a time that its id stays near to."""
    parent = f"00-{trace_id}-{span:016x}-01"
    opened = msgspec.structs.replace(call.opened, opened_us=at_us, trace_parent=parent)
    if call.closed is None:
        return msgspec.structs.replace(call, opened=opened)
    took = call.closed.closed_us - call.opened.opened_us
    closed = msgspec.structs.replace(call.closed, closed_us=at_us + took)
    return msgspec.structs.replace(call, opened=opened, closed=closed)


def trace_of(trace_id: str, spans: list[SpanEnded], calls: list[Call], most: tuple[int, int]) -> Trace | None:
    """Return a trace, as `SpanStore.trace` does."""
    own = sorted((s for s in spans if s.trace_id == trace_id), key=lambda s: (s.started_us, s.span_id))
    made = [call for call in calls if (parse_trace_parent(call.opened.trace_parent) or ("",))[0] == trace_id]
    if not own and not made:
        return None
    return Trace(
        trace_id=trace_id, spans=tuple(own[: most[0]]), calls=tuple(made[: most[1]]),
        more_spans=len(own[most[0] :]), more_calls=len(made[most[1] :]),
    )  # fmt: skip


def rows_of(spans: list[SpanEnded], calls: list[Call]) -> list[TraceRow]:
    """Return the list of traces, as `SpanStore.traces` does."""
    groups: dict[tuple[str, str], list[SpanEnded]] = {}
    for span in spans:
        groups.setdefault((span.trace_id, span.project), []).append(span)
    rows = []
    for (trace_id, project), own in groups.items():
        first = min(own, key=lambda span: (span.started_us, -span.ended_us, span.name))
        whole = trace_of(trace_id, [], calls, (0, 0))
        rows.append(
            TraceRow(
                trace_id=trace_id, project=project, name=first.name, started_us=first.started_us,
                ended_us=max(span.ended_us for span in own), spans=len(own),
                errors=sum(bool(span.error) for span in own), calls=whole.more_calls if whole else 0,
            )
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row.started_us, row.trace_id, row.project), reverse=True)
