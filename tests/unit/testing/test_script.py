"""Replies as data, and which one comes next."""

import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.testing import Ask, Choice, Script, Scripted, ToolCall, echo, split_tokens


def ask(**body):
    return Ask(kind="chat", body={"model": "m", "messages": [{"role": "user", "content": "hello"}], **body})


@given(st.text())
def test_tokens_join_to_the_text(text):
    assert "".join(split_tokens(text)) == text


def test_a_list_is_given_in_order_then_the_script_echoes():
    script = Script(["one", Scripted(status=500), lambda a: Scripted(a.model)])
    assert [script.next(ask()).text for _ in range(4)] == ["one", "", "m", "hello"]
    assert script.given == 4


@pytest.mark.parametrize("answer", ["same", Scripted("same"), lambda a: "same"])
def test_one_answer_is_given_every_time(answer):
    script = Script(answer)
    assert [script.next(ask()).text for _ in range(3)] == ["same"] * 3


def test_then_follows_the_list():
    script = Script(["first"], then=Scripted(status=503))
    assert [script.next(ask()).status for _ in range(3)] == [200, 503, 503]


def test_threads_get_each_answer_once():
    script = Script([str(n) for n in range(800)], then="over")
    got = []

    def take():
        got.extend(script.next(ask()).text for _ in range(100))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got, key=int) == [str(n) for n in range(800)]


def test_scripted_is_its_own_first_choice():
    reply = Scripted(("a", "b"), others=[Choice(tool_calls=[ToolCall("f")])])
    assert [c.whole_text() for c in reply.choices()] == ["ab", ""]
    assert [c.finish() for c in reply.choices()] == ["stop", "tool_calls"]


def test_replies_can_be_written_as_configuration():
    data = {"text": ["a", "b"], "tool_calls": [["f", "{}", "id"]], "pace": {"between_s": 0.5}}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(data | {"status": "x"}, Scripted)
    reply = msgspec.convert({"text": ["a", "b"], "pace": {"between_s": 0.5}, "status": 200}, Scripted)
    assert reply.whole_text() == "ab"
    assert reply.pace.between_s == 0.5


def test_echo_says_the_last_user_message():
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "x"}]
    parts = [{"type": "text", "text": "tw"}, {"type": "image_url"}, {"type": "text", "text": "o"}]
    assert echo(ask(messages=messages)).text == "one"
    assert echo(ask(messages=[*messages, {"role": "user", "content": parts}])).text == "two"
    assert echo(ask(messages="nonsense")).text == ""


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_echo_keeps_the_token_limit(name):
    reply = echo(ask(**{name: 1}, messages=[{"role": "user", "content": "one two three"}]))
    assert (reply.text, reply.finish()) == ("one", "length")


def test_echo_gives_n_choices_that_differ():
    assert [c.text for c in echo(ask(n=3)).choices()] == ["hello", "hello [1]", "hello [2]"]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"days": {"type": "integer"}}},
        },
    }
    for name in ("weather", "clock")
]


@pytest.mark.parametrize(
    ("choice", "called", "finish"),
    [
        ("auto", "weather", "tool_calls"),
        ("required", "weather", "tool_calls"),
        ("none", None, "stop"),
        ({"type": "function", "function": {"name": "clock"}}, "clock", "stop"),
    ],
)
def test_echo_calls_tools_as_asked(choice, called, finish):
    reply = echo(ask(tools=TOOLS, tool_choice=choice))
    assert [c.name for c in reply.tool_calls] == ([called] if called else [])
    assert reply.finish() == finish
    if called:
        assert msgspec.json.decode(reply.tool_calls[0].arguments) == {"days": 0}


def test_after_a_tool_answered_echo_says_what_it_said():
    messages = [{"role": "user", "content": "q"}, {"role": "tool", "content": "12 degrees"}]
    reply = echo(ask(tools=TOOLS, messages=messages))
    assert (reply.text, list(reply.tool_calls)) == ("12 degrees", [])


def test_echo_fits_a_response_format_or_says_why_not():
    schema = {"type": "object", "properties": {"a": {"enum": [7]}}}
    given = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert echo(ask(response_format=given)).text == '{"a":7}'
    assert echo(ask(response_format={"type": "json_object"})).text == '{"echo":"hello"}'
    hard = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "x"}}}
    refused = echo(ask(response_format=hard))
    assert refused.status == 400
    assert "pattern" in str(refused.error)
