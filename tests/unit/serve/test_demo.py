"""The demo: whole, the same each time, gone without a trace of it or a touch on others."""

import time
from collections import Counter

import pytest

from trimtab.access import make_key
from trimtab.serve import Layout, Local, open_local
from trimtab.serve.demo import DEMO, add_project, demo_is_fresh, fill_folder, fill_log, remove_from
from trimtab.storage import CallQuery, Erasure, nested
from trimtab.types import Call, Closed, Opened, Project, Usage, new_id

NOW_US = time.time_ns() // 1000
DAY_US = 86_400_000_000
ALL = CallQuery(limit=100_000)


def other_call(number: int) -> Call:
    call_id = new_id((NOW_US - number * 60_000_000) // 1000)
    opened = Opened(
        id=call_id, opened_us=NOW_US - number * 60_000_000, project="default", purpose="live", kind="chat", route="",
        channel="", release="", arm="", model_asked="m", model="p/m", params_hash="", stream=False, key="",
        session="s", user="user-001", tags=("shop",), client="", trace_parent="", parent_call="", replay_of="",
        payload="full", request=b'{"messages":[{"role":"user","content":"refund %d"}]}' % number,
    )  # fmt: skip
    closed = Closed(
        id=call_id, closed_us=opened.opened_us + 5000, first_byte_us=0, state="ok", status=200, error_code="",
        error_message="", model="p/m", model_served="m", provider="p", provider_response_id="", fingerprint="",
        provider_request_id="", finish_reason="stop", attempts=(), usage=Usage(3, 4), cost_nusd=7,
        price_version="v", degraded=False, cache_hit=False, response=b"{}",
    )  # fmt: skip
    return Call(opened=opened, closed=closed, state="ok")


def others(local: Local) -> object:
    """Everything there is of other projects."""
    calls = [c for c in local.calls.find(ALL, payload=True) if c.opened.project != DEMO]
    found = {
        c.id for c in local.calls.find(CallQuery(text="refund", limit=100_000)) if c.opened.project != DEMO
    }
    cubes = ("hour_model", "hour_prompt", "day_user", "minute_project", "sixhour_model")
    sums = [row for cube in cubes for row in local.calls.rollup(cube) if row.key[0] != DEMO]
    keys = [key for key in local.app.keys() if key.project != DEMO]  # noqa: SIM118 - a method
    return calls, found, sums, keys, [p for p in local.app.projects() if p.name != DEMO]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder with other things in it and a demo: (its stores, its layout, what was there before)."""
    layout = Layout(tmp_path_factory.mktemp("demo") / "data")
    with open_local(layout.root) as local:
        local.app.put_project(Project(name="other", title="Other"))
        local.app.add_key(make_key("mine")[1])
        local.calls.insert([other_call(n) for n in range(50)])
        while local.calls.index_pending():
            pass
        before = others(local)
        fill_folder(layout.log, local.app, local.calls, NOW_US)
        yield local, layout, before


def test_it_is_a_day_of_everything(demo) -> None:
    local, _, _ = demo
    calls = local.calls.find(CallQuery(project=DEMO, limit=100_000), payload=True)
    closed = [call.closed for call in calls if call.closed]
    assert 3000 <= len(calls) <= 6000
    assert {call.state for call in calls} == {"ok", "error", "cancelled", "unfinished"}
    assert all(NOW_US - DAY_US - 120_000_000 <= call.opened.opened_us <= NOW_US for call in calls)
    assert len({c.provider for c in closed}) >= 5
    assert any(c.degraded and c.provider == "own" for c in closed)
    assert {call.opened.kind for call in calls} == {"chat", "embeddings"}
    assert {call.opened.stream for call in calls} == {True, False}
    assert len({call.opened.session for call in calls}) > 200
    assert Counter(code for c in closed for code in [c.error_code] if code)["rate_limited"] >= 3
    assert sum(len(call.feedback) for call in calls) > 100
    assert all(c.price_version for c in closed if c.usage.input_tokens)
    assert sum(c.cost_nusd for c in closed) > 1_000_000_000
    assert any(b"tool_calls" in c.response for c in closed)


def test_one_provider_fails_for_a_while_and_others_take_over(demo) -> None:
    local, _, _ = demo
    calls = local.calls.find(CallQuery(project=DEMO, limit=100_000))
    moved = [
        c
        for c in calls
        if c.closed and c.closed.model and c.closed.provider != c.opened.model.partition("/")[0]
    ]
    struck = [c for c in moved if c.opened.model.startswith("anthropic/")]
    assert len(struck) >= 20
    times = sorted(c.opened.opened_us for c in struck)
    assert times[len(times) // 20] >= times[-1] - 40 * 60_000_000
    assert all(len(c.closed.attempts) > 3 for c in struck)


def test_its_assistants_trace_what_they_do(demo) -> None:
    local, _, _ = demo
    spans = list(local.calls.spans(project=DEMO))
    assert 3000 <= len(spans) <= 12_000
    assert all(span.started_us <= span.ended_us <= NOW_US + 120_000_000 for span in spans)
    assert {span.name for span in spans} >= {
        "answer_customer",
        "load_conversation",
        "ask_model",
        "look_up_order",
    }
    assert any(span.error for span in spans)
    [row] = local.calls.traces(project=DEMO, limit=1)
    assert row.name == "answer_customer"
    rows = local.calls.traces(project=DEMO, limit=500)
    assert {row.calls for row in rows} >= {1, 2}
    whole = local.calls.trace(next(row.trace_id for row in rows if row.calls == 2))
    pieces = [(piece.depth, piece.span.name if piece.span else "call") for piece in nested(whole)]
    assert pieces == [
        (0, "answer_customer"), (1, "load_conversation"), (1, "ask_model"), (2, "call"), (1, "look_up_order"),
        (1, "ask_model"), (2, "call"),
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["refund", "返金", "お届け"])
def test_its_words_are_found(demo, word) -> None:
    local, _, _ = demo
    assert len(local.calls.find(CallQuery(project=DEMO, text=word, limit=100))) > 20


def test_its_sums_are_those_of_its_calls(demo) -> None:
    local, _, _ = demo
    assert local.calls.rollup("hour_model") == local.calls.recount("hour_model")


def test_it_says_what_it_is_and_its_keys_let_nobody_in(demo) -> None:
    local, _, _ = demo
    assert Project(name=DEMO, title="Demo") in [
        Project(name=p.name, title=p.title) for p in local.app.projects()
    ]
    keys = [key for key in local.app.keys() if key.project == DEMO]  # noqa: SIM118 - a method
    assert keys
    assert all(key.name.endswith("(demo)") for key in keys)
    assert {c.opened.project for c in local.calls.find(CallQuery(key=keys[0].id, limit=10))} == {DEMO}


def test_a_second_time_changes_nothing(demo) -> None:
    local, layout, before = demo
    calls = local.calls.count()
    assert fill_folder(layout.log, local.app, local.calls, NOW_US + 3_600_000_000).calls == 0
    assert local.calls.count() == calls
    assert others(local) == before


def test_the_same_moment_makes_the_same_records(tmp_path) -> None:
    made = []
    for name in ("one", "two"):
        keys = dict.fromkeys(
            ("support", "support-ja", "notes", "invoices", "review", "translate", "search"), "key_1"
        )
        assert fill_log(tmp_path / name, keys, NOW_US).calls > 3000
        [segment] = [path for path in (tmp_path / name).iterdir() if path.is_file()]
        made.append(segment.read_bytes())
    # All but the segments' own ids, which seed the checksums.
    assert len(made[0]) == len(made[1])
    assert sum(a != b for a, b in zip(*made, strict=True)) < 150_000 < len(made[0]) / 40


def test_an_older_one_gives_way(tmp_path) -> None:
    layout = Layout(tmp_path / "data")
    with open_local(layout.root) as local:
        old = fill_folder(layout.log, local.app, local.calls, NOW_US - 3 * DAY_US)
        assert not demo_is_fresh(local.calls, NOW_US)
        new = fill_folder(layout.log, local.app, local.calls, NOW_US)
        assert new.replaced == old.calls
        assert local.calls.count() == new.calls
        assert len(local.app.keys()) == len(add_project(local.app, NOW_US))


def test_removing_it_leaves_all_others_as_they_were(demo) -> None:
    local, layout, before = demo
    local.calls.erase(Erasure(project=DEMO, user="user-001"))  # the same name as somebody of another project
    assert remove_from(local.app, local.calls)
    assert others(local) == before
    assert not local.calls.find(CallQuery(project=DEMO, limit=1))
    assert not local.calls.traces(project=DEMO, limit=1)
    assert remove_from(local.app, local.calls) is None
    for path in layout.root.rglob("*"):
        assert not path.is_file() or b"Harbour Goods" not in path.read_bytes()
