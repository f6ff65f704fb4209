from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.providers.own import Endpoint
from trimtab.providers.own.encode import DEFAULT_MAX_TOKENS, JSON_PROMPT, SYSTEM_PROMPT, encode
from trimtab.types import Deadlines, Request
from trimtab.types.errors import ProviderRejected

BUILT_IN = Endpoint(base_url="", api_key="", model="small", fingerprint="", system_prompt=SYSTEM_PROMPT)
WITH_TOOLS = Endpoint(base_url="", api_key="", model="large", fingerprint="", tools=True)
HELLO = [{"role": "user", "content": "Hello"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def request(**body):
    body = {"model": "asked", "messages": HELLO, **body}
    return Request(
        kind="chat",
        model="asked",
        body={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()},
        stream=False,
        deadlines=Deadlines(),
    )


def encoded(endpoint=BUILT_IN, **body):
    found, _ = encode(request(**body), endpoint)
    return {name: msgspec.json.decode(value) for name, value in found.body.items()}


def refusal(**body):
    with pytest.raises(ProviderRejected) as caught:
        encode(request(**body), BUILT_IN)
    assert caught.value.status == 400
    assert msgspec.json.decode(caught.value.body)["error"]["message"] == caught.value.message
    return caught.value.message


def test_the_default_prompt_stands_where_there_is_none():
    assert encoded()["messages"] == [{"role": "system", "content": SYSTEM_PROMPT}, *HELLO]
    assert encoded(response_format=SCHEMA)["messages"][0]["content"] == JSON_PROMPT
    assert encoded(WITH_TOOLS)["messages"] == HELLO


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_callers_own_prompt_is_left_alone(role):
    own = [{"role": role, "content": "Speak Latin."}, *HELLO]
    assert encoded(messages=own)["messages"] == [{"role": "system", "content": "Speak Latin."}, *HELLO]


def test_the_model_is_named_as_served():
    assert encoded()["model"] == "small"


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_is_the_callers(limit):
    body = encoded(**{limit: 7})
    assert body[limit] == 7
    assert "max_tokens" not in body or limit == "max_tokens"


@pytest.mark.parametrize(
    "body", [{}, {"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": None}]
)
def test_a_limit_is_set_where_there_is_none(body):
    assert encoded(**body)["max_tokens"] == DEFAULT_MAX_TOKENS
    assert "max_completion_tokens" not in encoded(**body)


def test_parts_of_text_are_joined():
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]
    assert encoded(messages=[{"role": "user", "content": parts}])["messages"][1]["content"] == "What is this?"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "input_audio", "input_audio": {}},
        {"type": "file"},
        {"type": "text"},
        {"type": "text", "text": 3},
        "text",
        None,
        {"type": ["text"]},
    ],
)
def test_parts_that_are_not_text_are_refused(part):
    assert "reads text only" in refusal(messages=[{"role": "user", "content": [part]}])


@pytest.mark.parametrize("messages", [[], {}, "hi", None, 3])
def test_messages_must_be_there(messages):
    assert "at least one message" in refusal(messages=messages)


@pytest.mark.parametrize(
    "message", ["hi", None, {}, {"role": "wizard", "content": "x"}, {"role": 3}, {"role": []}]
)
def test_a_role_must_be_known(message):
    assert "a role is one of" in refusal(messages=[message])


def test_what_it_cannot_do_is_said():
    assert "functions" in refusal(functions=[{"name": "f"}])
    assert "text only" in refusal(modalities=["text", "audio"])
    assert "cannot call tools" in refusal(tools=TOOLS, tool_choice="required")
    assert "cannot call tools" in refusal(
        tools=TOOLS, tool_choice={"type": "function", "function": {"name": "f"}}
    )
    assert "one of text, json_object" in refusal(response_format={"type": "xml"})
    assert "must be an object" in refusal(response_format="json")
    assert "no json_schema.schema" in refusal(response_format={"type": "json_schema"})


@pytest.mark.parametrize("choice", [{}, {"tool_choice": "auto"}, {"tool_choice": "none"}])
def test_tools_that_need_not_be_called_are_left_out(choice):
    body = encoded(tools=TOOLS, parallel_tool_calls=True, **choice)
    assert body.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})


def test_a_model_that_knows_tools_gets_them():
    body = encoded(WITH_TOOLS, tools=TOOLS, tool_choice="required", response_format=SCHEMA)
    assert body["tools"] == TOOLS
    assert body["tool_choice"] == "required"
    assert body["response_format"] == SCHEMA


def test_output_formats_become_grammars():
    body = encoded(response_format=SCHEMA)
    assert body["grammar"].startswith('%llguidance {}\nstart: %json {"type":"object"')
    assert "response_format" not in body
    assert "grammar" in encoded(response_format={"type": "json_object"})
    assert "grammar" not in encoded(response_format={"type": "text"})
    assert "response_format" not in encoded(response_format={"type": "text"})


def test_json_is_checked_unless_a_stop_sequence_may_cut_it():
    assert encode(request(response_format=SCHEMA), BUILT_IN)[1] is True
    assert encode(request(response_format=SCHEMA, stop="}"), BUILT_IN)[1] is False
    assert encode(request(), BUILT_IN)[1] is False


def test_log_probabilities_are_asked_as_the_runtime_reads_them():
    assert encoded(logprobs=True)["top_logprobs"] == 1
    assert encoded(logprobs=True, top_logprobs=0)["top_logprobs"] == 1
    assert encoded(logprobs=True, top_logprobs=5)["top_logprobs"] == 5
    assert "top_logprobs" not in encoded(logprobs=False)


KNOWN = {
    *("model", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "functions"),
    *("function_call", "audio", "modalities", "max_tokens", "max_completion_tokens", "n_predict", "logprobs"),
    *("top_logprobs", "grammar", "stop"),
}


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda k: k not in KNOWN), st.integers() | st.text() | st.booleans()
    )
)
def test_what_we_do_not_know_passes_through(extra):
    body = encode_with(extra)
    assert {name: body[name] for name in extra} == extra


def encode_with(extra):
    base = request()
    more = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in extra.items()}
    found, _ = encode(msgspec.structs.replace(base, body={**base.body, **more}), BUILT_IN)
    return {name: msgspec.json.decode(value) for name, value in found.body.items()}


json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(KNOWN)), json)
def test_whatever_a_caller_sends_is_taken_or_refused(name, value):
    base = request()
    body = {**base.body, name: msgspec.Raw(msgspec.json.encode(value))}
    with suppress(ProviderRejected):
        found, _ = encode(msgspec.structs.replace(base, body=body), BUILT_IN)
        assert msgspec.json.decode(found.body["messages"])


@pytest.mark.parametrize(
    "text", [b'[{"role":"user","content":"\xff"}]', b"[" * 100_000 + b"]" * 100_000], ids=["no UTF-8", "deep"]
)
def test_messages_that_cannot_be_read_are_the_callers_fault(text):
    asked = request()
    asked.body["messages"] = msgspec.Raw(text)
    with pytest.raises(ProviderRejected, match="messages is no JSON"):
        encode(asked, BUILT_IN)
