import json
from typing import Any

import pytest

from trimtab.storage.text import TEXT_LIMIT, call_text

REQUEST: dict[str, Any] = {
    "model": "not-text",
    "tools": [{"type": "function", "function": {"name": "not_text", "description": "not text"}}],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,bm90IHRleHQ="}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "function": {"name": "look_up", "arguments": '{"city":"\\u6771\\u4eac\\nx"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny"},
    ],
}
RESPONSE: dict[str, Any] = {
    "id": "chatcmpl-not-text",
    "choices": [
        {
            "message": {
                "role": "assistant",
                "reasoning_content": "Hm.",
                "content": "It is a cat.",
                "tool_calls": [{"function": {"name": "pet", "arguments": '{"gently": true}'}}],
            },
            "logprobs": {"content": [{"token": "not text"}]},
        },
        {"message": {"content": None, "refusal": "I cannot."}},
    ],
    "usage": {"total_tokens": 9},
}


def test_a_chat_gives_what_people_and_models_wrote_in_order() -> None:
    pieces = call_text(json.dumps(REQUEST).encode(), json.dumps(RESPONSE).encode())
    asked = ["Be brief.", "What is this?", "look_up", "city 東京\nx", "Sunny"]
    answered = ["Hm.", "It is a cat.", "pet", '{"gently": true}', "I cannot."]
    assert pieces == asked + answered


@pytest.mark.parametrize(
    ("body", "pieces"),
    [
        ({"input": "one"}, ["one"]),
        ({"input": ["one", "two"]}, ["one", "two"]),
        ({"input": [1, 2, 3]}, []),
        ({"prompt": "legacy"}, ["legacy"]),
        ({"error": {"message": "quota", "code": "not_text"}}, ["quota"]),
        ({"data": [{"embedding": [0.1]}]}, []),
        ({"messages": "not a list"}, ["not a list"]),
        ({"messages": {"content": 7}}, []),
        ([{"choices": [{"text": "in a list"}]}], ["in a list"]),
    ],
)
def test_other_bodies(body: object, pieces: list[str]) -> None:
    assert call_text(b"\n " + json.dumps(body, indent=2).encode(), b"") == pieces
    assert call_text(json.dumps(body).encode(), b"") == pieces


@pytest.mark.parametrize(
    "raw", [b"", b"\x01" * 32, b"{" * 40, b"[" * 100_000, b"{]", b'"text"', b"{\xff", b"null"]
)
def test_what_is_no_body_has_no_words(raw: bytes) -> None:
    assert call_text(raw, raw) == []


def test_bodies_with_stray_bytes_and_lone_surrogates_are_read_as_far_as_they_go() -> None:
    assert call_text(b'{"input":"caf\xe9 open"}', b'{"choices":[{"text":"\\ud800 there"}]}') == [
        "caf\ufffd open",
        "? there",
    ]
    arguments = json.dumps({"a": "\ud800"})
    assert call_text(json.dumps({"messages": [{"arguments": arguments}]}).encode(), b"") == ["a ?"]


def test_deep_nesting_is_walked_or_refused_but_never_breaks() -> None:
    for depth in (400, 5_000, 200_000):
        raw = b'{"content":' * depth + b'"deep"' + b"}" * depth
        assert call_text(raw, b"") in ([], ["deep"])


def test_a_long_text_is_cut_at_the_limit() -> None:
    pieces = call_text(json.dumps({"input": ["a" * (TEXT_LIMIT - 2), "bbbb", "c"]}).encode(), b"")
    assert [len(piece) for piece in pieces] == [TEXT_LIMIT - 2, 2]
