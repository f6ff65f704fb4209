"""Traces: the list, the picture of one, and the way there from a call."""

import random
import re
from html import unescape

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.browse import signed_in
from rigs.console_up import console_over
from rigs.sample_day import full_control
from rigs.sample_traces import AGENT, CALLS, PLAN, spans_at
from trimtab.console.content.trace import DEEPEST, picture
from trimtab.storage import Trace, nested
from trimtab.testing.calls import sample_call, unfinished
from trimtab.testing.spans import in_trace, sample_span


@pytest.fixture
def control():
    return full_control(60)


@pytest.fixture
def viewer(control):
    return signed_in(console_over(control), control, "viewer")


def test_the_list_shows_each_trace_once_newest_first(control, viewer):
    page = unescape(viewer.get("/traces").text)
    found = re.findall(r'href="/traces/([0-9a-f]{32})"', page)
    assert len(found) == len(set(found)) == 13
    assert "answer_customer" in page
    of_shop = unescape(viewer.get("/traces?project=shop").text)
    assert set(re.findall(r'href="/traces/([0-9a-f]{32})\?project=shop"', of_shop)) < set(found)
    assert "answer_customer" not in of_shop


def test_the_list_has_pages(control, viewer):
    control.records.spans = [sample_span(n, 1, started_us=control.now_us - n) for n in range(1, 121)]
    seen, address = [], "/traces"
    while address:
        page = unescape(viewer.get(address).text)
        seen += re.findall(r'href="/traces/([0-9a-f]{32})"', page)
        older = re.search(r'href="(/traces\?before=[^"]+)">Older', page)
        address = older[1] if older else ""
    assert [int(trace, 16) for trace in seen] == list(range(1, 121))


def test_without_traces_the_list_says_how_to_make_one(control, viewer):
    control.records.spans = []
    assert "@observe" in unescape(viewer.get("/traces").text)


def test_a_trace_shows_its_spans_and_calls_nested(viewer):
    page = unescape(viewer.get(f"/traces/{AGENT}").text)
    rows = re.findall(
        r'class="what in-(\d+)">\s*(?:<span class="badge">Call</span> )?<span class="cut">([^<]+)<', page
    )
    depth_of = {0: -1}
    for own, around, *_ in PLAN:
        depth_of[own] = depth_of[around] + 1
    spans = [(depth_of[own], name) for own, _, name, *_ in sorted(PLAN, key=lambda one: one[3])]
    assert sorted((int(depth), name) for depth, name in rows if "/" not in name) == sorted(spans)
    assert [name for _, name in rows][:2] == ["answer_customer", "plan"]
    assert [int(depth) for depth, name in rows if "/" in name] == [depth_of[span] + 1 for span, _ in CALLS]
    assert "TimeoutError" in page
    assert "no answer within 3 s" in page
    assert "HG-20418" in page


def test_a_trace_links_to_its_calls_and_they_to_it(control, viewer):
    page = unescape(viewer.get(f"/traces/{AGENT}").text)
    ids = re.findall(r'href="/calls/([0-9a-f-]{36})"', page)
    assert len(ids) == 3
    call = unescape(viewer.get(f"/calls/{ids[2]}").text)
    assert f'href="/traces/{AGENT}"' in call
    crumbs = re.search(r'<ol class="crumbs">(.*?)</ol>', call)[1]
    assert re.findall(r"<li>(\w+)", crumbs) == ["answer_customer", "write_reply", "check_facts"]
    assert "Spans: 9 · calls: 3" in call


def test_a_call_that_is_alone_in_its_trace_has_no_card(control, viewer):
    call = sample_call(ms=control.now_us // 1000, trace_parent=in_trace(77))
    control.records.calls.append(call)
    page = unescape(viewer.get(f"/calls/{call.id}").text)
    assert "Open the trace" not in page
    assert f'href="/traces/{77:032x}"' in page


@pytest.mark.parametrize("trace_id", ["f" * 32, "x" * 32, AGENT.upper(), "0", "..%2Fcalls"])
def test_a_trace_that_is_not_there_is_not_found(viewer, trace_id):
    assert viewer.get(f"/traces/{trace_id}").status == 404


def test_the_download_is_what_the_admin_api_says(viewer):
    reply = viewer.get(f"/traces/{AGENT}.json")
    found = msgspec.json.decode(reply.text)
    assert [span["name"] for span in found["spans"]][:2] == ["answer_customer", "plan"]
    assert found["spans"][0]["attributes"]["args"]["order"] == "HG-20418"
    assert len(found["calls"]) == 3
    assert found["calls"][0]["opened"]["request"] is None


def test_a_large_trace_is_cut_and_says_so(control, viewer):
    rng = random.Random(5)
    control.records.spans = [
        sample_span(9, n, parent_id=f"{rng.randrange(n):016x}" if n > 1 else "", started_us=control.now_us + n,
                    ended_us=control.now_us + n + 5, attributes=b'{"text":"' + b"x" * 9000 + b'"}')
        for n in range(1, 1200)
    ]  # fmt: skip
    page = unescape(viewer.get(f"/traces/{9:032x}").text)
    assert "Not shown: 699 spans" in page
    assert page.count("<summary") == 500
    assert len(page) < 1_500_000


def test_a_hash_is_shown_where_no_more_was_kept(control, viewer):
    control.records.spans = spans_at(control.now_us, PLAN[:1], attributes=b"\x07" * 32)
    assert "07" * 32 in unescape(viewer.get(f"/traces/{AGENT}").text)


spans = st.lists(
    st.builds(
        lambda own, around, started, took: (own, around, started, took),
        st.integers(1, 9), st.integers(0, 11), st.integers(0, 20), st.integers(0, 20),
    ),
    max_size=9, unique_by=lambda one: one[0],
)  # fmt: skip


@given(spans, st.lists(st.tuples(st.integers(0, 11), st.integers(0, 30), st.booleans()), max_size=4))
def test_whatever_names_whatever_each_piece_stands_once_and_below_what_it_was_made_in(plan, made):
    at_us = 1_790_078_400_000_000
    trace = Trace(
        trace_id=f"{1:032x}",
        spans=tuple(
            sample_span(1, own, parent_id=f"{around:016x}" if around else "", started_us=at_us + started,
                        ended_us=at_us + started + took)
            for own, around, started, took in plan
        ),
        calls=tuple(
            (unfinished if dies else lambda call: call)(
                sample_call(opened_us=at_us + started, trace_parent=in_trace(1, around) if around else "")
            )
            for around, started, dies in made
        ),
    )  # fmt: skip
    pieces = nested(trace)
    assert sorted(p.span.span_id for p in pieces if p.span) == sorted(s.span_id for s in trace.spans)
    assert sorted(p.call.id for p in pieces if p.call) == sorted(c.id for c in trace.calls)
    path: list[str] = []
    for piece in pieces:
        assert piece.depth <= len(path)
        del path[piece.depth :]
        parent = piece.span.parent_id if piece.span else piece.call.opened.trace_parent[36:52]
        if piece.depth:
            assert path[-1] == parent
        path.append(piece.span.span_id if piece.span else "")
    if pieces:
        for bar in picture(trace).bars:
            assert 0 <= bar.x < 100
            assert 0 < bar.width <= 100
            assert 0 <= bar.depth <= DEEPEST
            assert bar.x + bar.width <= 100.5


def test_a_chain_of_thousands_is_no_matter_of_the_stack():
    chain = tuple(
        sample_span(1, n, parent_id=f"{n - 1:016x}" if n > 1 else "", started_us=10**15 + n)
        for n in range(1, 5000)
    )
    assert [piece.depth for piece in nested(Trace(trace_id=f"{1:032x}", spans=chain, calls=()))] == list(
        range(4999)
    )
