"""Whole replies and refusals: what they say, and which error they are."""

import time

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab.providers.openai.decode import completion, embeddings, refusal, retry_after
from trimtab.providers.openai.usage import read_usage
from trimtab.providers.openai.wire import error_text, text_of
from trimtab.testing import FrozenClock
from trimtab.types import Usage
from trimtab.types.errors import (
    EmptyReply,
    MalformedReply,
    ProviderAuthFailed,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    RateLimited,
)

NOW_S = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


def clock() -> FrozenClock:
    return FrozenClock(now_us=NOW_S * 1_000_000)


# --- Retry-After --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "value_ms", "pause"),
    [
        ("", "", None),
        ("0", "", 0.0),
        ("7", "", 7.0),
        ("0.5", "", 0.5),
        ("1.", "", 1.0),
        ("-1", "", None),
        ("soon", "", None),
        ("1.2.3", "", None),
        ("²", "", None),
        ("9" * 400, "", None),
        ("7", "250", 0.25),
        ("", "1500.5", 1.5005),
        ("7", "-5", 0.0),
        ("7", "soon", None),
        ("7", "nan", None),
        ("7", "inf", None),
        ("7", "1e999", None),
        ("Sun, 06 Nov 1994 08:49:47 GMT", "", 10.0),
        ("Sunday, 06-Nov-94 08:49:47 GMT", "", 10.0),
        ("Sun Nov  6 08:49:47 1994", "", 10.0),
        ("Sun, 06 Nov 1994 09:49:47 +0100", "", 10.0),
        ("Sun, 06 Nov 1994 08:49:27 GMT", "", 0.0),
        ("Sun, 99 Nov 1994 08:49:27 GMT", "", None),
        ("Sun, 06 Nov 1994 08:49:27 +9999999", "", None),
    ],
)
def test_the_pause_a_provider_asks_for(value, value_ms, pause):
    assert retry_after(value, value_ms, clock()) == (None if pause is None else pytest.approx(pause))


@given(st.text(max_size=40), st.text(max_size=20))
@example("Mon, 01 Jan 0001 00:00:00 +2359", "")
@example("Fri, 31 Dec 9999 23:59:59 -2359", "")
@example("", "1_0")
def test_no_header_makes_a_pause_that_is_no_finite_number(value, value_ms):
    pause = retry_after(value, value_ms, clock())
    assert pause is None or 0 <= pause < float("inf")


def test_a_date_without_a_zone_is_utc_wherever_this_machine_stands(monkeypatch):
    monkeypatch.setenv("TZ", "XXX-9")
    time.tzset()
    try:
        assert retry_after("Sun Nov  6 08:49:47 1994", "", clock()) == pytest.approx(10)
    finally:
        monkeypatch.undo()
        time.tzset()


# --- statuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "elsewhere", "retryable"),
    [
        (429, RateLimited, True, True),
        (503, ProviderUnavailable, True, True),
        (529, ProviderUnavailable, True, True),
        (401, ProviderAuthFailed, True, False),
        (403, ProviderAuthFailed, True, False),
        (400, ProviderRejected, False, False),
        (404, ProviderRejected, True, False),
        (409, ProviderRejected, False, False),
        (422, ProviderRejected, False, False),
        (499, ProviderRejected, False, False),
        (408, ProviderFailed, True, True),
        (500, ProviderFailed, True, True),
        (502, ProviderFailed, True, True),
        (504, ProviderFailed, True, True),
        (302, ProviderFailed, True, False),
    ],
)
def test_what_a_status_means(status, kind, elsewhere, retryable):
    body = b'{"error":{"message":"the words","code":"c"}}'
    error = refusal(status, body, 3.0)
    assert type(error) is kind
    assert (error.elsewhere, error.retryable) == (elsewhere, retryable)
    assert f"answered {status}: the words" in error.message
    if kind is ProviderRejected:
        assert (error.status, error.body, error.retry_after_s) == (status, body, None)
    if kind in (RateLimited, ProviderUnavailable, ProviderFailed):
        assert error.retry_after_s == 3.0
    if kind is ProviderAuthFailed:
        assert "api_key" in error.message


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_an_empty_account_is_not_asked_again_but_another_target_is(code):
    error = refusal(429, b'{"error":{"message":"pay first","code":"%b"}}' % code.encode(), None)
    assert type(error) is RateLimited
    assert (error.elsewhere, error.retryable) == (True, False)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "answered 500"),
        (b"  ", "answered 500"),
        (b"<html>oops</html>", "answered 500: <html>oops</html>"),
        (b"\xff\xfe", "answered 500: \ufffd\ufffd"),
        (b"[1]", "answered 500: [1]"),
        (b'{"x":1}', 'answered 500: {"x":1}'),
        (b'{"error":null,"detail":"why"}', "answered 500: why"),
        (b'{"error":"bare"}', "answered 500: bare"),
        (b'{"error":{"type":"t"}}', "answered 500: t"),
        (b'{"error":{"code":7}}', "answered 500: no message"),
        (b'{"error":{"message":"\xff"}}', "answered 500: "),
    ],
)
def test_a_refusal_quotes_the_providers_words_in_any_shape(body, words):
    message = refusal(500, body, None).message
    assert message.startswith(f"the provider {words}")
    if words == "answered 500":
        assert message.endswith("500")


def test_a_long_body_is_quoted_in_part():
    assert len(refusal(500, b"x" * 10_000, None).message) < 300


# --- whole answers ------------------------------------------------------------------------------------------


def reply(**fields) -> bytes:
    return msgspec.json.encode(fields)


def test_a_completion_is_read_and_its_bytes_stay():
    body = reply(
        id="id-1",
        model="m-1",
        system_fingerprint="fp-1",
        choices=[{"message": {"content": "a"}, "finish_reason": "stop"}, {"finish_reason": "length"}],
        usage={"prompt_tokens": 3, "completion_tokens": 4},
    )
    made = completion(body)
    assert made.body is body
    assert (made.response_id, made.model, made.fingerprint, made.finish_reason) == (
        "id-1",
        "m-1",
        "fp-1",
        "stop",
    )
    assert made.usage == Usage(3, 4)
    assert made.text == "", "the text is kept only to estimate from"


def test_without_usage_the_text_of_all_choices_is_kept_to_estimate_from():
    choices = [
        {"message": {"content": "one "}},
        {"message": None},
        {"message": {"content": [{"type": "text", "text": "two"}]}},
        {"message": {"content": None}},
    ]
    made = completion(reply(choices=choices))
    assert made.usage is None
    assert made.text == "one two"
    assert (made.response_id, made.model, made.fingerprint, made.finish_reason) == ("", "", "", "")
    assert completion(reply(choices=choices, usage={"total_tokens": 9})).text == "one two"


@pytest.mark.parametrize("read", [completion, embeddings])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"<html>", b'{"model":"\xff"}'])
def test_a_body_that_is_no_answer_is_refused(read, body):
    with pytest.raises(MalformedReply) as refused:
        read(body)
    assert repr(body[:80]) in refused.value.message


@pytest.mark.parametrize("read", [completion, embeddings])
def test_an_error_under_a_good_status_is_an_error(read):
    with pytest.raises(ProviderFailed, match="200 with an error: the words"):
        read(reply(error={"message": "the words"}, choices=[{}], data=[1]))


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}])
def test_a_completion_without_choices_is_empty(body):
    with pytest.raises(EmptyReply):
        completion(reply(**body))


def test_embeddings_are_read_with_their_vectors_undecoded():
    body = reply(data=[{"embedding": [1.5] * 10}], model="e-1", usage={"prompt_tokens": 8, "total_tokens": 8})
    made = embeddings(body)
    assert (made.body, made.model, made.usage) == (body, "e-1", Usage(8))
    assert embeddings(reply(data=["base64"])).usage is None
    for empty in ({}, {"data": []}, {"data": None}):
        with pytest.raises(EmptyReply):
            embeddings(reply(**empty))


@given(st.binary(max_size=60), st.integers(200, 599))
def test_nothing_a_provider_sends_breaks_the_readers(body, status):
    assert isinstance(refusal(status, body, None), ProviderError)
    for read in (completion, embeddings):
        with pytest.raises((MalformedReply, EmptyReply, ProviderFailed)):
            read(body)


# --- usage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({}, None),
        ({"total_tokens": 7}, None),
        ({"prompt_tokens": 3}, Usage(3)),
        ({"completion_tokens": 4}, Usage(0, 4)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 8,
                "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 1, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": 3},
            },
            Usage(9, 8, 5, 2, 6, 1, 3),
        ),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 5}, Usage(9, 0, 5)),
        (
            {"prompt_tokens": 9, "prompt_cache_hit_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
            Usage(9, 0, 5),
        ),
        (
            {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}},
            Usage(0, 9, 0, 0, 5),
        ),
        (
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": None},
                "completion_tokens_details": None,
            },
            Usage(9),
        ),
    ],
)
def test_usage_in_its_parts(wire, usage):
    assert read_usage(wire) == usage


def test_content_and_errors_in_all_their_shapes():
    assert text_of(None) == text_of([]) == ""
    assert text_of("a") == "a"
    assert text_of([{"text": "a"}, {"image": 1}, 7, {"text": 5}]) == "a5"
    assert error_text("plain") == ("plain", "")
    assert error_text({"message": "m", "type": "t"}) == ("m", "t")
    assert error_text({"message": "", "type": "t", "code": "c"}) == ("t", "c")
    assert error_text({"code": 7}) == ("no message", "7")


@pytest.mark.parametrize(
    "cost", ['"1e999999"', '"-1e999999"', '"1e-999999"', '"sNaN"', f'"{"9" * 20_000}"', "1e300"]
)
def test_a_cost_that_is_no_amount_costs_no_answer(cost: str) -> None:
    body = b'{"choices":[{"message":{}}],"usage":{"prompt_tokens":5,"completion_tokens":2,"cost":%b}}'
    usage = completion(body % cost.encode()).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (5, 2)
    assert not usage.reported_cost_nusd
