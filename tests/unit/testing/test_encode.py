"""The OpenAI dialect as the fake writes it, checked field by field."""

import base64
import math
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.testing import Ask, Choice, Scripted, ToolCall
from trimtab.testing.wire.encode import completion, first_content, stream_frames, unit_vector
from trimtab.types import (
    ContentDelta,
    Done,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Started,
    Usage,
    UsageReport,
)


def ask(**body):
    return Ask(kind="chat", body={"model": "m", "messages": [{"role": "user", "content": "a b"}], **body})


def chunks(frames):
    assert all(f.raw.startswith(b"data: ") and f.raw.endswith(b"\n\n") for f in frames)
    assert frames[-1].raw == b"data: [DONE]\n\n"
    return [msgspec.json.decode(f.raw[6:]) for f in frames[:-1]]


def test_a_stream_is_role_then_content_then_finish_then_done():
    frames = stream_frames(ask(), Scripted(("one", " two")), include_usage=False)
    sent = chunks(frames)
    deltas = [(c["choices"][0]["delta"], c["choices"][0]["finish_reason"]) for c in sent]
    assert deltas == [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"content": "one"}, None),
        ({"content": " two"}, None),
        ({}, "stop"),
    ]
    assert {(c["id"], c["object"], c["model"]) for c in sent} == {
        ("chatcmpl-fake-0", "chat.completion.chunk", "m")
    }
    assert not any("usage" in c for c in sent)
    assert first_content(frames) == 1
    kinds = [type(e) for f in frames for e in f.events]
    assert kinds == [Started, ContentDelta, ContentDelta, Finish, Done]


def test_usage_comes_last_alone_and_only_when_asked_for():
    usage = Usage(input_tokens=9, output_tokens=5, cached_tokens=4, reasoning_tokens=2, cache_write_tokens=1)
    frames = stream_frames(ask(), Scripted("x", usage=usage), include_usage=True)
    sent = chunks(frames)
    assert [c["usage"] for c in sent[:-1]] == [None] * (len(sent) - 1)
    assert sent[-1]["choices"] == []
    assert sent[-1]["usage"]["total_tokens"] == 14
    assert sent[-1]["usage"]["prompt_tokens_details"] == {
        "cached_tokens": 4,
        "audio_tokens": 0,
        "cache_write_tokens": 1,
    }
    assert sent[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    assert [f.usage_only for f in frames] == [False] * (len(frames) - 2) + [True, False]
    assert frames[-2].events == (UsageReport(usage),)


def test_usage_that_is_kept_back_is_nowhere():
    reply = Scripted("x", report_usage=False)
    assert not any(f.usage_only for f in stream_frames(ask(), reply, include_usage=True))
    whole = completion(ask(), reply)
    assert whole.usage is None
    assert whole.text == "x"
    assert "usage" not in msgspec.json.decode(whole.body)


def test_choices_take_turns_and_reasoning_and_refusal_have_their_fields():
    reply = Scripted("aa", reasoning=("hm",), others=[Choice(refusal="no", finish_reason="content_filter")])
    frames = stream_frames(ask(), reply, include_usage=False)
    order = [c["choices"][0]["index"] for c in chunks(frames)]
    assert order == [0, 1, 0, 1, 0, 1, 0]
    events = [e for f in frames for e in f.events]
    assert ReasoningDelta("hm", 0) in events
    assert RefusalDelta("no", 1) in events
    assert Finish("content_filter", 1) in events
    message = msgspec.json.decode(completion(ask(), reply).body)["choices"]
    assert message[0]["message"]["reasoning_content"] == "hm"
    assert (message[1]["message"]["content"], message[1]["message"]["refusal"]) == (None, "no")


@given(st.text(), st.integers(0, 9), st.lists(st.text(min_size=1), max_size=5))
def test_deltas_add_up_at_any_chunking(text, chunk_chars, pieces):
    for reply in (Scripted(text, chunk_chars=chunk_chars), Scripted(pieces)):
        frames = stream_frames(ask(), reply, include_usage=False)
        said = "".join(e.text for f in frames for e in f.events if isinstance(e, ContentDelta))
        sent = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks(frames))
        assert said == sent == reply.whole_text()


def test_tool_calls_name_first_then_arguments_in_pieces():
    reply = Scripted(tool_calls=[ToolCall("f", '{"a": "long enough"}'), ToolCall("g", "{}", id="mine")])
    sent = [
        c["choices"][0]["delta"].get("tool_calls")
        for c in chunks(stream_frames(ask(), reply, include_usage=False))
    ]
    calls = [c[0] for c in sent if c]
    heads = [c for c in calls if "id" in c]
    assert [(h["id"], h["type"], h["function"]) for h in heads] == [
        ("call_fake_0_0", "function", {"name": "f", "arguments": ""}),
        ("mine", "function", {"name": "g", "arguments": ""}),
    ]
    assert "".join(c["function"]["arguments"] for c in calls if c["index"] == 0) == '{"a": "long enough"}'
    whole = msgspec.json.decode(completion(ask(), reply).body)["choices"][0]
    assert whole["finish_reason"] == "tool_calls"
    assert whole["message"]["content"] is None
    assert whole["message"]["tool_calls"][1]["function"] == {"name": "g", "arguments": "{}"}


def test_logprobs_are_there_when_asked_or_scripted():
    plain = msgspec.json.decode(completion(ask(), Scripted("one two")).body)["choices"][0]["logprobs"]
    assert plain is None
    body = completion(ask(logprobs=True, top_logprobs=2), Scripted("one two")).body
    content = msgspec.json.decode(body)["choices"][0]["logprobs"]["content"]
    assert "".join(t["token"] for t in content) == "one two"
    assert all(t["logprob"] <= 0 and len(t["top_logprobs"]) == 2 for t in content)
    assert content[0]["top_logprobs"][0]["token"] == content[0]["token"]
    assert bytes(content[1]["bytes"]).decode() == " two"
    scripted = Scripted("yes", logprobs=[("yes", -0.25)])
    frame = stream_frames(ask(), scripted, include_usage=False)[1]
    assert msgspec.json.decode(frame.events[0].logprobs)["content"][0]["logprob"] == -0.25


def test_scripted_logprobs_must_spell_the_text():
    with pytest.raises(ValueError, match="spell"):
        Scripted("yes", logprobs=[("no", -1.0)])


@given(st.text(), st.integers(1, 64))
def test_vectors_have_length_one_and_survive_float32(text, size):
    vector = unit_vector(text, size)
    assert len(vector) == size
    assert math.isclose(sum(x * x for x in vector), 1.0, rel_tol=1e-5)
    assert list(struct.unpack(f"<{size}f", struct.pack(f"<{size}f", *vector))) == vector


@pytest.mark.parametrize(
    ("given_input", "count"), [("a", 1), (["a", "b", "a"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)]
)
def test_embeddings_one_vector_per_input(given_input, count):
    def body(**more):
        asked = Ask(kind="embeddings", body={"model": "e", "input": given_input, "dimensions": 5, **more})
        return msgspec.json.decode(completion(asked, Scripted()).body)

    floats, packed = body(), body(encoding_format="base64")
    assert [d["index"] for d in floats["data"]] == list(range(count))
    for a, b in zip(floats["data"], packed["data"], strict=True):
        assert list(struct.unpack("<5f", base64.b64decode(b["embedding"]))) == a["embedding"]
    assert floats["usage"]["prompt_tokens"] == floats["usage"]["total_tokens"] > 0
