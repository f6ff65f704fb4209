"""The kit for `SpanStore`, which is a `CallStore` too."""

from collections.abc import Callable

import msgspec

from trimtab.storage import Erasure, Trace, TraceRow, TraceStore
from trimtab.testing.calls import NOON_MS, sample_call
from trimtab.testing.spans import in_trace, sample_span
from trimtab.types import Call, SpanEnded

from .refusal import refuses

_DAY_US = 86_400_000_000
_NOON_US = NOON_MS * 1000
_MIDNIGHT_US = _NOON_US + _DAY_US // 2


def check_span_store(make: Callable[[], TraceStore]) -> None:
    """Check the promises of `SpanStore`.

    Args:
        make: opens the store at one and the same place, for writing; the first time it must be empty.

    Raises:
        AssertionError: with the promise that was broken.
    """
    store = make()
    assert store.traces() == [], "the first store that `make` opens must be empty"
    _check_inserts(store)
    _check_over_midnight(store)
    _check_list(store)
    _check_calls(store)
    _check_erasing(store)
    _check_projects(store)
    stored = list(store.spans())
    rows = store.traces(limit=1000)
    store.flush()
    store.close()
    refuses(store.traces, "a closed store must raise StorageError")
    store = make()
    assert list(store.spans()) == stored, "what was flushed must be there when the store is opened again"
    assert store.insert_spans(stored) == 0, "spans that are stored must not be new after opening again"
    assert store.traces(limit=1000) == rows, "the list must be the same when the store is opened again"
    _check_days(store)
    store.close()


def _check_inserts(store: TraceStore) -> None:
    spans = [
        sample_span(1, 1, started_us=_NOON_US, ended_us=_NOON_US + 9_000_000, name="ask"),
        sample_span(1, 2, parent_id=f"{1:016x}", started_us=_NOON_US + 1, attributes=b"", error="KeyError"),
        sample_span(
            1, 3, parent_id=f"{1:016x}", started_us=_NOON_US + 2, name="é'<b>", key="", project="acme"
        ),
    ]
    assert store.insert_spans([]) == 0, "inserting nothing must store nothing"
    assert store.insert_spans([*spans[:0:-1], spans[1]]) == 2, "insert_spans must say how many were new"
    assert store.insert_spans(spans) == 1, "a span that is stored already must not be new again"
    other = msgspec.structs.replace(spans[0], name="other", error="ValueError")
    assert store.insert_spans([other]) == 0, "a span must not be stored twice"
    found = _trace(store, 1)
    assert list(found.spans) == spans, "a trace must come whole, in the order of its spans' starts"
    assert found.calls == (), "a trace must have the calls that were made in it, and no other"
    assert store.trace("f" * 32) is None, "trace must return None for a trace that is not stored"
    assert store.trace("no id") is None, "trace must return None for what is no id"
    cut = store.trace(spans[0].trace_id, most_spans=1)
    assert cut is not None, "a trace must be found however few spans are asked for"
    assert (list(cut.spans), cut.more_spans) == (spans[:1], 2), "what is left out of a trace must be counted"
    for bad in (
        {"trace_id": "xyz"},
        {"span_id": "12"},
        {"parent_id": "1"},
    ):
        good = sample_span(99, 1)
        try:
            store.insert_spans([good, sample_span(99, 2, **bad)])
        except ValueError:
            assert store.trace(good.trace_id) is None, "nothing must be stored of what was refused"
            continue
        raise AssertionError("an id that is not hexadecimal, or of another length, must raise ValueError")


def _check_over_midnight(store: TraceStore) -> None:
    inner = sample_span(
        2, 2, parent_id=f"{1:016x}", started_us=_MIDNIGHT_US + 5, error="OSError", name="inner"
    )
    outer = sample_span(2, 1, started_us=_MIDNIGHT_US - 5, ended_us=_MIDNIGHT_US + 5_000_000, name="outer")
    store.insert_spans([inner])
    store.insert_spans([outer])
    assert list(_trace(store, 2).spans) == [outer, inner], "a trace must be whole over midnight"
    row = _row(store, 2)
    assert (row.name, row.spans, row.errors) == ("outer", 2, 1), "the list must sum a trace over midnight"
    assert (row.started_us, row.ended_us) == (outer.started_us, outer.ended_us), (
        "a trace must say when it was"
    )


def _check_list(store: TraceStore) -> None:
    spans = [
        sample_span(
            100 + i % 11, i + 1, started_us=_MIDNIGHT_US + (i * 7919 % 41 - 20) * 1_000_000, name=f"n{i}",
            project="acme" if i % 3 else "default", error="E" if i % 5 == 0 else "",
        )
        for i in range(60)
    ]  # fmt: skip
    for start in range(0, 60, 13):
        store.insert_spans(spans[start : start + 13])
    for project in ("", "acme", "default"):
        rows = [r for r in store.traces(project=project, limit=1000) if int(r.trace_id, 16) >= 100]
        wanted: dict[tuple[str, str], list[SpanEnded]] = {}
        for span in spans:
            if project in ("", span.project):
                wanted.setdefault((span.trace_id, span.project), []).append(span)
        assert len(rows) == len(wanted), "traces must list each trace of each project once"
        for row in rows:
            own = wanted[row.trace_id, row.project]
            first = min(own, key=lambda span: (span.started_us, -span.ended_us, span.name))
            sums = (row.name, row.started_us, row.spans, row.errors, row.ended_us)
            assert sums == (
                first.name, first.started_us, len(own), sum(bool(span.error) for span in own),
                max(span.ended_us for span in own),
            ), "a row of the list must sum up its trace's spans"  # fmt: skip
        order = [(row.started_us, row.trace_id, row.project) for row in rows]
        assert order == sorted(order, reverse=True), "traces must list the newest trace first"
        paged: list[str] = []
        while page := store.traces(project=project, before=paged[-1] if paged else "", limit=4):
            paged += [row.place for row in page]
        everything = [row.place for row in store.traces(project=project, limit=1000)]
        assert paged == everything, "pages of traces must join to the whole list, none twice, none left out"
    assert store.traces(project="nobody") == [], "traces must be those of their project"
    refuses(lambda: store.traces(before="yesterday"), "a place that is none must raise StorageError")
    within = list(
        store.spans(project="acme", since_us=_MIDNIGHT_US - 3_000_000, until_us=_MIDNIGHT_US + 3_000_000)
    )
    expected = {
        span.id for span in spans
        if span.project == "acme" and abs(2 * (span.started_us - _MIDNIGHT_US) + 1) < 6_000_000
    }  # fmt: skip
    ids = [span.id for span in within if int(span.trace_id, 16) >= 100]
    assert sorted(ids) == sorted(expected), "spans must keep within its project and bounds"


def _check_calls(store: TraceStore) -> None:
    calls = [sample_call(ms=NOON_MS + i * 43_200_000, trace_parent=in_trace(3, 1)) for i in range(3)]
    store.insert([*calls, sample_call(trace_parent="nonsense")])
    store.insert(calls)
    trace = _trace(store, 3)
    assert [call.id for call in trace.calls] == [call.id for call in calls], (
        "a trace must have the calls that were made in it, and no other"
    )
    assert not any(_words(call) for call in trace.calls), "a trace's calls must come without their words"
    store.insert_spans([sample_span(3, 1)])
    row = _row(store, 3)
    assert row.calls == 3, "the list must count a trace's calls"
    cut = store.trace(trace.trace_id, most_calls=1)
    assert cut is not None, "a trace must be found however few calls are asked for"
    assert ([call.id for call in cut.calls], cut.more_calls) == ([calls[0].id], 2), (
        "what is left out of a trace must be counted"
    )


def _words(call: Call) -> bytes:
    return call.opened.request + call.opened.variables + (call.closed.response if call.closed else b"")


def _check_erasing(store: TraceStore) -> None:
    gone = sample_call(user="quentin", session="q1", trace_parent=in_trace(4, 1))
    kept = sample_call(user="rosa", trace_parent=in_trace(5, 1))
    store.insert([gone, kept])
    spans = [
        sample_span(4, 1, started_us=_MIDNIGHT_US - 1),
        sample_span(4, 2, started_us=_MIDNIGHT_US + 1, project="acme"),
        sample_span(5, 1),
    ]
    store.insert_spans(spans)
    assert store.traces_of(Erasure(user="quentin")) == {spans[0].trace_id}, (
        "traces_of must name the traces that an erasure's calls were made in"
    )
    store.erase(Erasure(user="quentin"))
    assert store.trace(spans[0].trace_id) is None, "the spans of an erased call's trace must go"
    assert not [row for row in store.traces(limit=1000) if row.trace_id == spans[0].trace_id], (
        "a trace that was erased must not be listed"
    )
    assert _trace(store, 5).spans == (spans[2],), "the spans of other traces must stay"
    late = sample_span(4, 3, started_us=_MIDNIGHT_US + 2)
    assert store.insert_spans([late, spans[1]]) == 0, (
        "a trace whose calls were erased must take no late spans"
    )
    _check_erasing_traces(store)
    try:
        store.traces_of(Erasure(project="default"))
    except ValueError:
        return
    raise AssertionError("traces_of must raise ValueError without a user or a session")


def _check_erasing_traces(store: TraceStore) -> None:
    spans = [sample_span(6, 1, started_us=_MIDNIGHT_US - 1), sample_span(6, 2, started_us=_MIDNIGHT_US + 1)]
    store.insert_spans([*spans, sample_span(7, 1)])
    at_us = spans[0].started_us
    assert store.erase_traces({spans[0].trace_id: at_us, f"{8:032x}": at_us}) == 2, (
        "erase_traces must erase the spans of traces, and say how many"
    )
    assert store.trace(spans[0].trace_id) is None, "the spans of an erased trace must go"
    assert _trace(store, 7).spans, "the spans of other traces must stay"
    late = [sample_span(number, 3, started_us=_MIDNIGHT_US + 1) for number in (6, 8)]
    assert store.insert_spans(late) == 0, "a trace that was erased must take no late spans"


def _check_projects(store: TraceStore) -> None:
    spans = [
        sample_span(60 + i, 1, project=name, started_us=_NOON_US + day * _DAY_US)
        for i, (name, day) in enumerate((name, day) for name in ("fast", "slow") for day in (-1, 0, 1))
    ]
    store.insert([sample_call(ms=NOON_MS - 86_400_000, project="other")])
    assert store.insert_spans(spans) == 6, "spans of all projects must be stored"
    store.expire({"fast": "20260923", "slow": "20260922"})
    left = {span.id for span in store.spans() if span.project in ("fast", "slow")}
    assert left == {spans[2].id, spans[4].id, spans[5].id}, (
        "expire must erase a project's spans of the days before the one that it names, and no other"
    )
    store.erase_project("slow")
    assert [span.id for span in store.spans(project="slow")] == [], (
        "erase_project must erase a project's spans"
    )
    assert [row.trace_id for row in store.traces(project="fast")] == [spans[2].trace_id], (
        "erase_project must leave other projects' traces"
    )


def _check_days(store: TraceStore) -> None:
    yesterday = sample_span(72, 1, started_us=_NOON_US - _DAY_US)
    store.insert_spans([yesterday, sample_span(73, 1)])
    store.drop_before("20260922")
    assert store.trace(yesterday.trace_id) is None, "drop_before must remove the spans of the days before"
    starts = [span.started_us for span in store.spans()]
    assert starts, "drop_before must keep the spans of the days it keeps"
    assert min(starts) >= _NOON_US - _DAY_US // 2, "drop_before must remove the spans of the days before"
    old = sample_span(70, 1, started_us=_NOON_US - 3 * _DAY_US)
    assert store.insert_spans([old]) == 0, "a span of a day that was dropped must be left out"
    before_midnight = sample_span(71, 1, started_us=_NOON_US - _DAY_US)
    assert store.insert_spans([before_midnight]) == 1, "a span of the day before the oldest must be stored"


def _trace(store: TraceStore, number: int) -> Trace:
    found = store.trace(f"{number:032x}")
    assert found is not None, "a trace that has spans or calls must be found"
    return found


def _row(store: TraceStore, number: int) -> TraceRow:
    rows = [row for row in store.traces(limit=1000) if int(row.trace_id, 16) == number]
    assert len(rows) == 1, "traces must list each trace of each project once"
    return rows[0]
