"""Estimates are near what real vocabularies count, bounded in cost, and take anything."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.catalog import estimate_request_tokens, estimate_tokens

ENGLISH = (
    "The gateway is a small server between an application and a language model. For each call it notes "
    "which model answered, how many tokens were used and what that cost. If a provider suddenly "
    "becomes slow, or the quality of its answers drops, traffic moves back to the last good version."
)
JAPANESE = (
    "ゲートウェイは、アプリケーションと言語モデルのあいだに立つ小さなサーバーです。呼び出しのたびに、"
    "どのモデルが答えたか、何トークンを使ったか、いくらかかったかを記録します。"
)
CODE = (
    "def charge(parts):\n    total = 0\n    for tokens, price in parts:\n        total += tokens * price\n"
    "    return divmod(total, 1_000_000)\n"
)


@pytest.mark.parametrize(
    ("text", "o200k", "tekken"),
    [(ENGLISH, 60, 60), (JAPANESE, 65, 64), (CODE, 38, 43)],
    ids=["english", "japanese", "code"],
)
def test_near_what_real_vocabularies_count(text, o200k, tekken):
    """The counts were taken with OpenAI's o200k and Mistral's Tekken vocabularies."""
    assert estimate_tokens(text) == pytest.approx((o200k + tekken) / 2, rel=0.2)


@given(st.text())
def test_any_text_has_at_least_a_token_and_none_has_more_than_its_bytes(text):
    count = estimate_tokens(text)
    assert (count >= 1) == bool(text)
    assert count <= len(text.encode("utf-8", "surrogatepass")) + 1


@given(st.text(max_size=200), st.text(max_size=200))
def test_more_text_is_not_fewer_tokens(one, other):
    assert estimate_tokens(one + "\n" + other) >= max(estimate_tokens(one), estimate_tokens(other)) - 1


def test_a_long_text_is_judged_by_samples_and_scales():
    short, long = estimate_tokens(ENGLISH * 40), estimate_tokens(ENGLISH * 4000)
    assert long == pytest.approx(100 * short, rel=0.05)


@pytest.mark.parametrize(
    "hard", ["a1.-あ ", "\u3000", " ", "\n", "\x0b", "a", "-", "0", "aA", "\u0300", "é\u0301"]
)
def test_no_text_costs_more_than_a_sample_of_it(hard):
    text = hard * (12_000_000 // len(hard))
    started = time.perf_counter()
    assert estimate_tokens(text) >= 1
    assert time.perf_counter() - started < 0.5


@given(st.binary(max_size=300))
def test_a_request_may_be_anything(body):
    assert estimate_request_tokens(body) >= 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "image_url", "input_audio", "messages", "tools", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_a_request_may_be_any_json(body):
    assert estimate_request_tokens(json.dumps(body).encode()) >= 0


def test_a_request_deeper_than_any_sane_one_is_taken():
    deep = b"[" * 100_000 + b"]" * 100_000
    assert estimate_request_tokens(deep) >= 0


def ask(content, **rest):
    return estimate_request_tokens(
        json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **rest}).encode()
    )


def test_a_message_costs_its_words_and_a_little():
    assert ask(ENGLISH) == estimate_tokens(ENGLISH) + 4


def test_parameters_cost_nothing_and_tools_cost_their_words():
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"properties": {"city": {}}}}}
    assert ask("hi", temperature=0.5, user="someone", metadata={"team": "blue"}) == ask("hi")
    assert ask("hi", tools=[tool]) > ask("hi") + 2


def test_the_list_of_messages_alone_counts_the_same():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    alone = estimate_request_tokens(json.dumps(messages).encode())
    assert alone == estimate_request_tokens(json.dumps({"messages": messages}).encode())


def test_a_picture_costs_the_same_however_it_is_sent():
    def picture(url):
        return ask(
            [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
        )

    assert picture("https://x/y.png") == picture("data:image/png;base64," + "A" * 500_000)
    assert picture("https://x/y.png") == ask("What is this?") + 800


def test_sound_costs_by_its_length():
    def sound(size):
        return ask([{"type": "input_audio", "input_audio": {"data": "A" * size, "format": "mp3"}}])

    assert sound(50_000) - sound(0) == 50


def test_embedding_input_counts_texts_and_token_numbers():
    assert estimate_request_tokens(b'{"input": ["What is this?"]}') == estimate_tokens("What is this?")
    assert estimate_request_tokens(b'{"input": [[1, 2, 3], [4]]}') == 4


def test_earlier_tool_calls_count():
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    said = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    assert estimate_request_tokens(json.dumps(said).encode()) >= 4 + 4
