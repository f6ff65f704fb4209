import json

import msgspec
import pytest

from trimtab.api import call_row
from trimtab.cli.reach import read_call
from trimtab.storage import call_json
from trimtab.types import FeedbackGiven, Usage, new_id


def api_json(call, *, payload):
    return msgspec.structs.asdict(call_row(call, payload=payload))


def test_where_nothing_was_ever_recorded_a_question_leaves_nothing_behind(run, place):
    ran = run("calls")
    assert (ran.code, ran.out) == (0, "")
    assert "No calls recorded yet" in ran.err
    assert list(place.iterdir()) == []


def test_calls_are_listed_newest_first_in_aligned_columns(run, stored, make_call):
    stored([make_call(n, words=f"call number {n}") for n in range(3)])
    ran = run("calls")
    lines = ran.out.splitlines()
    assert [line.split("  ")[-1] for line in lines] == [
        "words",
        "call number 2",
        "call number 1",
        "call number 0",
    ]
    assert {line.index(word) for line, word in zip(lines[1:], ("call number",) * 3, strict=True)} == {
        lines[0].index("words")
    }
    assert ran.code == 0


def test_wide_characters_are_counted_by_their_width(run, stored, make_call):
    stored([make_call(0, user="x", model="prov/日本語"), make_call(1, model="prov/abcdef")])
    _, narrow, wide = run("calls").out.splitlines()
    assert wide.index(" 5 ") + len("日本語") == narrow.index(" 5 ")


def test_json_has_the_admin_apis_shape(run, stored, make_call):
    call = make_call(0, tags=("a", "b"))
    stored([call])
    (row,) = json.loads(run("calls", "--json", "--full").out)
    assert row == json.loads(json.dumps(api_json(call, payload=True)))
    assert row["closed"]["usage"]["input_tokens"] == 5
    (short,) = json.loads(run("calls", "--json").out)
    assert short["opened"]["request"] is None


@pytest.mark.parametrize("policy", ["full", "hash", "none"])
def test_a_call_comes_back_from_the_admin_apis_json_as_it_was(make_call, policy):
    kept = {"full": b'{"messages":[]}', "hash": bytes(range(32)), "none": b""}[policy]
    feedback = FeedbackGiven(new_id(), "c", 1, "default", "thumbs", 0.5, "", "good", "", "", "")
    call = make_call(
        0, payload=policy, request=kept, response=kept, tags=("t",), usage=Usage(1, 2, estimated=True)
    )
    call = type(call)(opened=call.opened, closed=call.closed, state="ok", feedback=(feedback,))
    for payload in (True, False):
        shown = api_json(call, payload=payload)
        assert call_json(call, payload=payload) == shown
        again = read_call(json.loads(json.dumps(shown)))
        if payload:
            assert again == call
        assert api_json(again, payload=payload) == shown


def test_a_newer_server_may_say_more(make_call):
    row = json.loads(json.dumps(api_json(make_call(), payload=True)))
    row["opened"]["invented"] = row["closed"]["invented"] = row["invented"] = 1
    assert read_call(row).opened.model == "openai/m"


def test_filters_reach_the_store(run, stored, make_call):
    stored(
        [
            make_call(0, model="openai/a", user="ann", tags=("x",)),
            make_call(1, model="openai/b", state="error", error_code="rate_limited"),
            make_call(2, model="own/c", route="r", session="s", key="k"),
        ]
    )

    def found(*arguments):
        ran = run("calls", "--json", *arguments)
        assert ran.code == 0, ran.err
        return [row["closed"]["model"] for row in json.loads(ran.out)][::-1]

    assert found("--user", "ann") == ["openai/a"]
    assert found("--tag", "x") == ["openai/a"]
    assert found("--state", "error") == found("--error", "rate_limited") == ["openai/b"]
    assert found("--route", "route/r") == found("--session", "s") == found("--key", "k") == ["own/c"]
    assert found("--model", "openai/") == ["openai/a", "openai/b"]
    assert found("--limit", "1") == ["own/c"]
    assert found("--since", "2286-01-01") == []
    assert found("--until", "2026-01-01") == []
    assert found("so", "is") == ["openai/a", "openai/b", "own/c"]
    assert found('"so it"', "hello") == ["openai/a", "openai/b", "own/c"]
    assert found("absent") == []


def test_pages_go_on_where_the_last_one_ended(run, stored, make_call):
    calls = [make_call(n) for n in range(5)]
    stored(calls)
    first = run("calls", "--limit", "2")
    older = first.err.split("--before ")[1].strip()
    assert older == calls[3].id
    assert [r["id"] for r in json.loads(run("calls", "--before", older, "--json").out)] == [
        c.id for c in calls[2::-1]
    ]


def test_show_takes_an_id_its_beginning_or_last(run, stored, make_call):
    calls = [make_call(0, words="first words"), make_call(1, words="second words")]
    stored(calls)
    for wanted in (calls[1].id, calls[1].id.upper(), calls[1].id[:18], "last"):
        ran = run("calls", "show", wanted)
        assert ran.code == 0, ran.err
        assert calls[1].id in ran.out
        assert "second words" in ran.out
        assert "so it is" in ran.out
        assert "$0.00002475" in ran.out
    assert "resp-1 / req-1" in ran.out
    assert json.loads(run("calls", "show", calls[0].id[:18], "--json").out)["opened"]["request"]["messages"]


def test_show_says_what_is_wrong_with_an_id(run, stored, make_call):
    calls = [make_call(0), make_call(0)]  # ids of one millisecond
    stored(calls)
    assert run("calls", "show", "0").code == 2
    assert run("calls", "show", "no-id-at-all").code == 2
    assert run("calls", "show", "").code == 2
    unknown = run("calls", "show", "00000000-0000-7000-8000-000000000000")
    assert (unknown.code, unknown.out) == (1, "")
    assert "there is no call" in unknown.err
    several = run("calls", "show", calls[0].id[:14])
    assert several.code == 2
    assert "several calls begin" in several.err
    assert run("calls", "show", calls[0].id[:35]).code == 0 or calls[0].id[:35] == calls[1].id[:35]


def test_an_unfinished_call_is_shown_as_what_it_is(run, stored, make_call):
    stored([make_call(0, closed=False)])
    assert "unfinished" in run("calls").out
    shown = run("calls", "show", "last").out
    assert "may have been billed" in shown
    assert json.loads(run("calls", "--json").out)[0]["closed"] is None


def test_an_estimate_and_an_unknown_price_are_not_passed_off_as_facts(run, stored, make_call):
    stored([make_call(0, usage=Usage(3, 4, estimated=True), price_version="", cost_nusd=0)])
    row = run("calls").out.splitlines()[1].split()
    assert "~3" in row
    assert "~4" in row
    assert "$" not in "".join(row)
    assert "estimated" in run("calls", "show", "last").out


HOSTILE = "\x1b]0;owned\x07 \x1b[2J\x9b31m\rgone\u202ereversed [red]markup[/red]"


def test_stored_text_cannot_command_the_terminal(run, stored, make_call):
    names = ("words", "user", "session", "client", "model", "model_asked", "model_served", "finish_reason")
    names = (*names, "error_code", "error_message", "provider_response_id")
    stored([make_call(0, tags=(HOSTILE,), **dict.fromkeys(names, HOSTILE))])
    show = ("calls", "show", "last")
    for arguments in (("calls",), show, ("calls", "--json", "--full"), (*show, "--json")):
        ran = run(*arguments)
        assert ran.code == 0
        assert "owned" in ran.out
        assert not set(ran.out) & set("\x1b\x07\x9b\r\u202e"), arguments
    assert "[red]markup[/red]" in run("calls", "show", "last").out


@pytest.mark.parametrize(
    "request_body",
    [
        b"[]",
        b"not json",
        b'"text"',
        b'{"messages": "none"}',
        b'{"messages": [1, {"role": 5, "content": {}}]}',
        b"{}",
    ],
)
def test_strange_payloads_are_shown_all_the_same(run, stored, make_call, request_body):
    stored([make_call(0, request=request_body, response=b'{"choices": [7, {"message": 3}]}')])
    assert run("calls").code == 0
    assert run("calls", "show", "last").code == 0


def test_parts_tools_and_embeddings_are_told(run, stored, make_call):
    body = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "what is this"}, {"type": "image_url"}]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": '{"at": 1}'}}]},
        ]
    }
    stored([make_call(0, request=json.dumps(body).encode()), make_call(1, request=b'{"input": ["a", "b"]}')])
    shown = run("calls", "show", "last").out
    assert '["a","b"]' in shown
    (_, older) = json.loads(run("calls", "--json").out)
    shown = run("calls", "show", older["id"]).out
    assert "what is this\n(image_url)" in shown
    assert '(tool call) look({"at": 1})' in shown
