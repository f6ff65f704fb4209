"""`trimtab trace`: from a folder where nothing runs, and over the admin API; traces in an export."""

import json

import pytest

from trimtab.serve import open_local
from trimtab.storage import TraceRow
from trimtab.storage.nested import nested
from trimtab.testing.spans import in_trace, sample_span

AT_US = sample_span().started_us


@pytest.fixture
def spans():
    return [
        sample_span(5, 1, name="answer", ended_us=AT_US + 9_000_000),
        sample_span(5, 2, name="plan", parent_id=f"{1:016x}", started_us=AT_US + 1, ended_us=AT_US + 4),
        sample_span(5, 3, name="ask\x1b[31m", parent_id=f"{1:016x}", started_us=AT_US + 10, error="KeyError"),
        sample_span(6, 1, name="other", started_us=AT_US - 9, attributes=b"\x07" * 32, project="acme"),
    ]


@pytest.fixture
def filled(stored, make_call, spans):
    call = make_call(user="ann", trace_parent=in_trace(5, 2), opened_us=AT_US + 2, closed_us=AT_US + 3)
    alone = make_call(1)
    data = stored([call, alone])
    with open_local(data) as local:
        assert local.calls.insert_spans(spans) == 4
    return call, alone


def test_a_tree_of_what_was_done(run, filled):
    done = run("trace", f"{5:032x}")
    assert done.code == 0
    lines = [
        line.split()[:3] for line in done.out.splitlines() if line and not line.startswith(("trace", "began"))
    ]
    assert [" ".join(line)[: len(want)] for line, want in zip(lines[1:], (
        "answer", "├─ plan", "│ └─ call", "└─ ask",
    ), strict=True)] == ["answer", "├─ plan", "│ └─ call", "└─ ask"]  # fmt: skip
    assert "KeyError" in done.out
    assert filled[0].id in done.out
    assert "\x1b" not in done.out
    assert "question" not in done.out
    assert "question" in run("trace", f"{5:032x}", "--facts").out


def test_a_trace_is_found_by_a_call_by_its_header_and_as_the_last(run, filled):
    whole = run("trace", f"{5:032x}", "--json").out
    for wanted in (filled[0].id, in_trace(5, 9), "last"):
        assert run("trace", wanted, "--json").out == whole
    missing = run("trace", "f" * 32)
    assert (missing.code, missing.out) == (1, "")
    assert "was made in no trace" in run("trace", filled[1].id).err
    assert run("trace", "what?").code == 2


def test_the_list(run, filled):
    done = run("trace")
    assert [
        line.split()[2] for line in done.out.splitlines()[1:] if f"{5:032x}" in line or f"{6:032x}" in line
    ]
    rows = json.loads(run("trace", "--json").out)
    assert [(row["name"], row["spans"], row["errors"], row["calls"]) for row in rows["traces"]] == [
        ("answer", 3, 1, 1),
        ("other", 1, 0, 0),
    ]
    first = json.loads(run("trace", "--json", "--limit", "1").out)
    second = json.loads(run("trace", "--json", "--limit", "1", "--before", first["before"]).out)
    assert [row["name"] for row in second["traces"]] == ["other"]
    mine = json.loads(run("trace", "--project", "acme", "--json").out)
    assert [row["name"] for row in mine["traces"]] == ["other"]


def test_where_nothing_is_there_is_nothing(run):
    done = run("trace")
    assert done.code == 0
    assert "No traces" in done.err
    assert run("trace", "last").code == 1


def test_over_the_admin_api_it_is_the_same(run, running, make_call, spans):
    from trimtab.storage import Trace

    call = make_call(trace_parent=in_trace(5, 2), opened_us=AT_US + 2, closed_us=AT_US + 3)
    trace = Trace(trace_id=f"{5:032x}", spans=tuple(spans[:3]), calls=(call,), more_spans=2)

    async def one(trace_id, *, most_spans, most_calls):
        return trace if trace_id == trace.trace_id else None

    async def several(*, project, before, limit):
        return [TraceRow(trace_id=trace.trace_id, project="default", name="answer", started_us=AT_US,
                         ended_us=AT_US + 9, spans=3, errors=1, calls=1)]  # fmt: skip

    running.trace, running.traces = one, several
    running.calls = [call]
    found = json.loads(run("trace", call.id, "--json").out)
    assert [span["name"] for span in found["spans"]] == [span.name for span in spans[:3]]
    assert found["spans"][0]["attributes"] == {"args": {"question": "When?"}}
    assert found["calls"][0]["id"] == call.id
    done = run("trace", "last")
    assert "2 spans and 0 calls" in done.err
    assert [piece.depth for piece in nested(trace)] == [0, 1, 2, 1]
    assert run("trace", "f" * 32).code == 1


def test_an_export_takes_the_spans_along_and_an_import_brings_them_back(run, filled, spans, place):
    assert run("export", "--out", "all.jsonl").code == 0
    assert run("import", "all.jsonl", "--data", "new").code == 0
    with open_local(place / "new") as local:
        assert sorted(local.calls.spans(), key=str) == sorted(spans, key=str)
    again = run("import", "all.jsonl", "--data", "new", "--json")
    assert json.loads(again.out) == {"read": 2, "new": 0}
    run("export", "--user", "ann", "--out", "ann.jsonl")
    lines = [json.loads(line) for line in (place / "ann.jsonl").read_text().splitlines()]
    assert [line["span"]["name"] for line in lines if "span" in line] == [span.name for span in spans[:3]]
    run("export", "--project", "acme", "--out", "acme.jsonl")
    lines = [json.loads(line) for line in (place / "acme.jsonl").read_text().splitlines()]
    assert [line["span"]["name"] for line in lines] == ["other"]


@pytest.mark.parametrize(
    "change",
    [('"span_id":"', '"span_id":"x'), ('"started_us":', '"started_us":9'), ('"format":1', '"format":99')],
)
def test_a_line_of_a_span_that_cannot_be_is_named(run, filled, place, change):
    run("export", "--out", "all.jsonl")
    file = place / "all.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]) + lines[2].replace(*change))
    done = run("import", "all.jsonl", "--data", "new")
    assert done.code != 0
    assert "line 3" in done.err
