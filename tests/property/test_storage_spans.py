"""Spans in whatever order, twice, over midnight and over many files: the sums equal the spans that are there."""

import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.storage import Erasure, TraceRow, TraceStore
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import sample_call
from trimtab.testing.spans import in_trace, sample_span
from trimtab.types import SpanEnded

MIDNIGHT_US = 1_790_121_600_000_000

spans = st.builds(
    lambda trace, span, started, took, **more: sample_span(
        trace,
        span,
        started_us=MIDNIGHT_US + started,
        ended_us=MIDNIGHT_US + started + took,
        name=f"s{span}",
        **more,
    ),
    trace=st.integers(1, 4),
    span=st.integers(1, 6),
    started=st.integers(-3, 3),
    took=st.integers(0, 5),
    project=st.sampled_from(["default", "acme"]),
    error=st.sampled_from(["", "KeyError"]),
    attributes=st.sampled_from([b"", b'{"a":1}', b"\x01" * 32]),
)
steps = st.lists(
    st.one_of(
        st.lists(spans, max_size=8),
        st.builds(lambda trace: ("user", trace), st.integers(1, 4)),
        st.sampled_from([("project", "acme"), ("project", "default"), ("reopen", 0)]),
    ),
    max_size=8,
)


def row_of(own: list[SpanEnded]) -> TraceRow:
    first = min(own, key=lambda span: (span.started_us, -span.ended_us, span.name))
    return TraceRow(
        trace_id=first.trace_id,
        project=first.project,
        name=first.name,
        started_us=first.started_us,
        ended_us=max(span.ended_us for span in own),
        spans=len(own),
        errors=sum(bool(span.error) for span in own),
        calls=0,
    )


def check(store: TraceStore, there: dict[tuple[str, str], SpanEnded]) -> None:
    grouped: dict[tuple[str, str], list[SpanEnded]] = {}
    for span in there.values():
        grouped.setdefault((span.trace_id, span.project), []).append(span)
    rows = sorted(map(row_of, grouped.values()), key=lambda r: (r.started_us, r.trace_id, r.project))[::-1]
    assert store.traces(limit=99) == rows
    paged: list[TraceRow] = []
    while page := store.traces(limit=2, before=paged[-1].place if paged else ""):
        paged += page
    assert paged == rows
    for project in ("acme", "default"):
        assert store.traces(project=project) == [row for row in rows if row.project == project]
    for number in range(1, 5):
        own = [span for span in there.values() if int(span.trace_id, 16) == number]
        found = store.trace(f"{number:032x}")
        assert list(found.spans if found else ()) == sorted(own, key=lambda s: (s.started_us, s.span_id))
    assert sorted(span.id for span in store.spans()) == sorted(span.id for span in there.values())


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([1, 1 << 30]))
def test_the_sums_equal_the_spans(plan: list[object], roll_bytes: int) -> None:
    there: dict[tuple[str, str], SpanEnded] = {}
    # A span's day follows from its start: one id with two starts may be stored on two days.
    first_start: dict[tuple[str, str], int] = {}
    erased: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        store = open_call_store(folder, roll_bytes=roll_bytes)
        for step in plan:
            if isinstance(step, list):
                batch = []
                for span in step:
                    key = (span.trace_id, span.span_id)
                    if first_start.setdefault(key, span.started_us) == span.started_us:
                        batch.append(span)
                before = len(there)
                for span in batch:
                    if span.trace_id not in erased:
                        there.setdefault((span.trace_id, span.span_id), span)
                assert store.insert_spans(batch) == len(there) - before
                continue
            assert isinstance(step, tuple)
            kind, value = step
            if kind == "user":
                store.insert([sample_call(ms=MIDNIGHT_US // 1000, user="u", trace_parent=in_trace(value))])
                assert len(store.erase(Erasure(user="u"))) == 1
                erased.add(f"{value:032x}")
                there = {key: span for key, span in there.items() if span.trace_id not in erased}
            elif kind == "project":
                store.erase_project(value)
                there = {key: span for key, span in there.items() if span.project != value}
            else:
                store.close()
                store = open_call_store(folder, roll_bytes=roll_bytes)
        check(store, there)
        store.close()
        reader = open_call_store(folder, read_only=True)
        check(reader, there)
        reader.close()
