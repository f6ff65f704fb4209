"""`/metrics`: what two strict parsers take, with dimensions that are bounded, and sums that are right."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_parser
from prometheus_client.parser import text_string_to_metric_families as plain_parser

from trimtab.ledger import (
    OPENMETRICS,
    PLAIN,
    Counters,
    Family,
    LogWriter,
    Progress,
    Recorder,
    histogram,
    metrics_text,
    publish_families,
    render,
)
from trimtab.serve.child.noted import Noted
from trimtab.serve.folder import Layout
from trimtab.storage.sqlite import open_call_store
from trimtab.telemetry import Figures
from trimtab.testing.calls import sample_call, unfinished
from trimtab.types import SpanEnded, Usage, new_id

ROOT = Path(__file__).parents[3]
PARSERS = [(PLAIN, plain_parser), (OPENMETRICS, open_parser)]


def samples(text, form=PLAIN):
    parse = open_parser if form.is_open else plain_parser
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def counted(*calls):
    figures = Figures()
    figures.add(calls, len(calls), calls[0].opened.opened_us + 2_000_000 if calls else 0)
    return figures


@pytest.mark.parametrize(("form", "parse"), PARSERS)
def test_two_parsers_take_all_of_it(tmp_path, form, parse):
    counters = Counters(tmp_path, "worker-1")
    counters.add_finished("answered", (3, 4, 5), 12.0)
    counters.close()
    calls = [
        sample_call(),
        sample_call(state="error", error_code="total_timeout", model='odd/"quoted"\\back\nline'),
        unfinished(sample_call()),
    ]
    publish_families(tmp_path, "recorder", counted(*calls).families())
    own = [Family("trimtab_build_info", "gauge", 'A "version".', [("", {"version": "1"}, 1)])]
    text = metrics_text(tmp_path, tmp_path, form, own)
    families = list(parse(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation for family in families)
    assert {"trimtab_calls", "trimtab_tokens", "trimtab_in_flight", "trimtab_latency_seconds"} <= {
        name.removesuffix("_total") for name in names
    }
    assert text.endswith("# EOF\n") == form.is_open


def test_sums_are_those_of_the_calls():
    calls = [
        sample_call(usage=Usage(100, 20, 30, 0, 5), cost_nusd=1_500_000_000),
        sample_call(usage=Usage(1, 2), cost_nusd=500_000_000, stream=False),
        sample_call(state="error", error_code="rate_limited", usage=Usage(), cost_nusd=0, attempts=()),
        sample_call(purpose="eval"),
        unfinished(sample_call()),
    ]
    found = samples(render(counted(*calls).families(), PLAIN))
    who = (("model", "openai/gpt-4o"), ("provider", "openai"))

    def get(name, **labels):
        return found[name, tuple(sorted((*who, *labels.items())))]

    common = {"kind": "chat", "stream": "true"}
    assert get("trimtab_calls_total", **common, outcome="ok", error_code="") == 1
    assert get("trimtab_calls_total", **common, outcome="error", error_code="rate_limited") == 1
    assert get("trimtab_calls_total", **common, outcome="unfinished", error_code="") == 1
    assert get("trimtab_tokens_total", type="input") == 101
    assert get("trimtab_tokens_total", type="cached") == 30
    assert get("trimtab_cost_usd_total") == 2.0
    assert get("trimtab_call_duration_seconds_count") == 3
    assert get("trimtab_call_duration_seconds_bucket", le="1.0") == 3
    assert get("trimtab_call_duration_seconds_bucket", le="0.5") == 0
    assert get("trimtab_time_to_first_token_seconds_count") == 2
    assert get("trimtab_attempts_total", error_code="rate_limited") == 2
    assert found["trimtab_project_calls_total", (("project", "default"),)] == 4
    assert found["trimtab_stored_calls_total", ()] == 5


def test_what_was_stored_before_counts_once():
    calls = [sample_call() for _ in range(10)]
    figures = counted(*calls)
    figures.add(calls, 0, 0)
    figures.add([*calls, sample_call()], 1, 0)
    figures.add([SpanEnded("a" * 32, "b" * 16, "", "n", "p", 1, 2, "", b"")], 1, 0)
    assert figures.stored == 11


def test_lag_is_from_the_oldest_end():
    call = sample_call()
    figures = Figures()
    figures.add([call], 1, call.closed.closed_us + 3_000_000)
    assert figures.lag_s == 3.0


def test_dimensions_are_bounded():
    calls = [
        sample_call(model=f"openai/m{n}", project=f"p{n}", error_code=f"e{n}", attempts=())
        for n in range(4000)
    ]
    families = {family.name: family for family in counted(*calls).families()}
    assert len(families["trimtab_cost_usd"].samples) == 201
    assert len(families["trimtab_calls"].samples) <= 3001
    assert len(families["trimtab_project_calls"].samples) == 201
    assert sum(value for _, _, value in families["trimtab_calls"].samples) == 4000


label = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)


@given(
    st.lists(
        st.tuples(label, st.one_of(st.integers(0, 2**53), st.floats(0, 1e300))),
        max_size=5,
        unique_by=lambda x: x[0],
    ),
    label,
)
def test_any_text_and_number_survives_both_formats(series, about):
    about = about.replace("\r", "") or "a"
    gauge = Family("trimtab_x", "gauge", about, [("", {"a": name}, value) for name, value in series])
    for form, parse in PARSERS:
        text = render([gauge], form) + ("# EOF\n" if form.is_open else "")
        if any(c in text for c in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"):
            continue  # the parsers of the test cut lines there; the formats do not
        found = [sample for family in parse(text) for sample in family.samples]
        assert [(s.labels["a"], s.value) for s in found] == [(n, float(v)) for n, v in series]


def test_a_histogram_adds_up():
    text = render([histogram("x", "y", [1.0, 2.5], [({"m": "a"}, [1, 0, 4], 9.5)])], PLAIN)
    found = samples(text)
    assert found["x_bucket", (("le", "2.5"), ("m", "a"))] == 1
    assert found["x_bucket", (("le", "+Inf"), ("m", "a"))] == found["x_count", (("m", "a"),)] == 5


def test_a_recorder_tells_of_all_it_stored(tmp_path):
    writer = LogWriter(tmp_path / "log", "worker-1")
    for _ in range(30):
        call = sample_call(id=new_id())
        writer.append(call.opened)
        writer.append(call.closed)
    writer.close()
    store = open_call_store(tmp_path / "data")
    figures = Figures()
    with Recorder(tmp_path / "log", store, stored=lambda rows, new: figures.add(rows, new, 0)) as recorder:
        recorder.drain()
    store.close()
    assert figures.stored == 30


def names_used(text):
    """Names of our metrics in a PromQL text."""
    return set(re.findall(r"\btrimtab_[a-z0-9_]+", text))


def test_dashboard_and_alert_rules_name_only_what_there_is(tmp_path):
    layout = Layout(tmp_path / "data")
    layout.make()
    store = open_call_store(layout.calls)
    noted = Noted.open(layout, store, backlog=65_536)
    noted([sample_call(state="error", error_code="x")], 1)
    noted.look(Progress())
    noted.close()
    store.close()
    counters = Counters(layout.counters, "worker-1")
    counters.close()
    own = [Family(name, "gauge", "x", [("", {}, 1)]) for name in ("trimtab_build_info", "trimtab_generation")]
    there = {name for name, _ in samples(metrics_text(layout.counters, layout.run, PLAIN, own))}
    there |= {"trimtab_export_dropped_total", "trimtab_export_failing", "trimtab_export_waiting"}
    there |= {"trimtab_alert_firing"}
    rules = (ROOT / "docs/how-to/prometheus-rules.yml").read_text()
    board = (ROOT / "docs/how-to/grafana-dashboard.json").read_text()
    assert json.loads(board)["panels"]
    for text in (rules, board):
        assert names_used(text)
        assert names_used(text) <= there, names_used(text) - there
