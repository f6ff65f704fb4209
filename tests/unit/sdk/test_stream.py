"""Streams: all of the text at any chunking, and never a silent end."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk_gateway import DONE, USAGE, Gateway, chat, delta, error, event, reply, stream

from trimtab.sdk import ApiError, AsyncClient, CallTimedOut, Client, MalformedAnswer, StreamBroken
from trimtab.sdk.sse import EventParser
from trimtab.types import RetryPolicy, Usage

WHOLE = (delta("", role="assistant"), delta("Hel"), delta("lo"), delta(finish="stop"), USAGE, DONE)


def client(gateway, **options):
    return Client(gateway.url, "", retry=RetryPolicy(attempts=3, backoff_s=0.001), **options)


def test_pieces_then_the_answer():
    head = {"x_trimtab_model": "openai/m", "x_trimtab_degraded": "0"}
    with Gateway([stream(*WHOLE, **head)]) as gateway, client(gateway) as asking:
        with asking.stream("Hi", model="openai/m", max_tokens=5) as pieces:
            assert list(pieces) == ["Hel", "lo"]
            answer = pieces.answer
        assert gateway.asked[0].json() == {
            "stream_options": {"include_usage": True},
            "model": "openai/m",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
        }
    assert answer.text == "Hello"
    assert answer.usage == Usage(3, 2)
    assert (answer.finish_reason, answer.call_id, answer.release) == ("stop", "call-1", "rel_1")
    assert (answer.model, answer.degraded) == ("openai/m", False)
    assert answer.raw["object"] == "chat.completion"
    assert answer.raw["choices"][0]["message"] == {"role": "assistant", "content": "Hello"}


def test_a_stream_without_a_context_is_read_the_same():
    with Gateway([stream(*WHOLE)]) as gateway, client(gateway) as asking:
        assert "".join(asking.stream("Hi")) == "Hello"


def test_stream_options_of_the_callers_own_are_kept():
    with Gateway([stream(*WHOLE)]) as gateway, client(gateway) as asking:
        list(asking.stream("Hi", stream_options={"include_usage": False}))
        assert gateway.asked[0].json()["stream_options"] == {"include_usage": False}


@given(st.data())
def test_the_text_is_the_same_at_any_chunking(data):
    raw = b"".join((delta("Grüße, "), b": keep-alive\n\n", delta("世界"), USAGE, DONE))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=30)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    parser = EventParser()
    assert [e for piece in pieces for e in parser.feed(piece)] == EventParser().feed(raw)
    assert len(EventParser().feed(raw)) == 4


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\r\n\r\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"event: x\nid: 7\nretry: 5\ndata: a\n\n", [b"a"]),
        (b": note\n\ndata: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data\n\n", [b""]),
        (b"data: a\n", []),
        (b"\n\n\n", []),
        (b"database: a\n\n", []),
    ],
)
def test_events_as_the_standard_has_them(raw, events):
    assert EventParser().feed(raw) == events


@pytest.mark.parametrize("end", ["whole", "cut", "reset"])
@pytest.mark.parametrize("sent", [1, 2, 3, 5])
def test_a_stream_that_ends_without_its_marker_raises(end, sent):
    with Gateway([stream(*WHOLE[:sent], end=end)]) as gateway, client(gateway) as asking:
        with asking.stream("Hi") as pieces:
            got = []
            with pytest.raises(StreamBroken) as broken:
                got.extend(iter(lambda: next(pieces), None))
            with pytest.raises(RuntimeError, match="has not come to its end"):
                _ = pieces.answer
        assert len(gateway.asked) == 1
    assert broken.value.code == "stream_cut"
    assert broken.value.partial == "".join(got) == "Hello"[: len("".join(got))]
    assert broken.value.call_id == "call-1"


def test_half_an_event_at_the_end_is_no_event():
    with Gateway([stream(delta("Hel"), DONE[:-2])]) as gateway, client(gateway) as asking:
        with pytest.raises(StreamBroken):
            list(asking.stream("Hi"))


def test_an_error_event_raises_what_it_says():
    failed = event(
        {"error": {"message": "the provider fell over", "type": "x", "code": "provider_stream_error"}}
    )
    with Gateway([stream(delta("Hel"), failed, DONE)]) as gateway, client(gateway) as asking:
        with pytest.raises(StreamBroken, match="the provider fell over") as broken:
            list(asking.stream("Hi"))
    assert broken.value.code == "provider_stream_error"
    assert broken.value.partial == "Hel"


@pytest.mark.parametrize("data", [b"not json", b"[1]", b"\xff"])
def test_an_event_that_is_none_raises(data):
    with Gateway([stream(delta("a"), event(data), DONE)]) as gateway, client(gateway) as asking:
        with pytest.raises(MalformedAnswer):
            list(asking.stream("Hi"))


def test_a_stream_without_any_choice_is_malformed():
    with Gateway([stream(USAGE, DONE)]) as gateway, client(gateway) as asking, pytest.raises(MalformedAnswer):
        list(asking.stream("Hi"))


def test_an_error_before_the_stream_is_the_same_as_without_one():
    with Gateway([error(404, "model_not_found")]) as gateway, client(gateway) as asking:
        with pytest.raises(ApiError) as failed:
            list(asking.stream("Hi"))
    assert failed.value.code == "model_not_found"


def test_before_it_begins_a_stream_is_asked_for_again():
    with Gateway([error(503, "overloaded"), stream(*WHOLE)]) as gateway, client(gateway) as asking:
        assert "".join(asking.stream("Hi")) == "Hello"
        assert len(gateway.asked) == 2


def test_tool_calls_in_pieces():
    def call(**fields):
        return delta(tool_calls=[fields])

    pieces = (
        call(index=0, id="c1", function={"name": "weather", "arguments": ""}),
        call(index=0, function={"arguments": '{"city":'}),
        call(index=1, id="c2", function={"name": "time"}),
        call(index=0, function={"arguments": '"Oslo"}'}),
        call(index=1, function={"arguments": "{}"}),
        delta(finish="tool_calls"),
        DONE,
    )
    with Gateway([stream(*pieces)]) as gateway, client(gateway) as asking:
        with asking.stream("Weather?") as reading:
            assert list(reading) == []
            answer = reading.answer
    assert [(c.id, c.name, c.arguments) for c in answer.tool_calls] == [
        ("c1", "weather", '{"city":"Oslo"}'),
        ("c2", "time", "{}"),
    ]
    assert answer.finish_reason == "tool_calls"
    assert answer.usage is None


def test_tool_calls_without_numbers_belong_to_the_last_begun():
    pieces = (
        delta(tool_calls=[{"id": "c1", "function": {"name": "a", "arguments": "{"}}]),
        delta(tool_calls=[{"function": {"arguments": "}"}}]),
        delta(tool_calls=[{"id": "c2", "function": {"name": "b", "arguments": "[]"}}]),
        DONE,
    )
    with Gateway([stream(*pieces)]) as gateway, client(gateway) as asking, asking.stream("x") as reading:
        list(reading)
        calls = reading.answer.tool_calls
    assert [(c.id, c.name, c.arguments) for c in calls] == [("c1", "a", "{}"), ("c2", "b", "[]")]


def test_other_choices_stay_out_of_the_text_and_in_raw():
    other = event({"choices": [{"index": 1, "delta": {"content": "Other"}, "finish_reason": "stop"}]})
    with Gateway([stream(delta("One"), other, DONE)]) as gateway, client(gateway) as asking:
        with asking.stream("x", n=2) as reading:
            assert list(reading) == ["One"]
            choices = reading.answer.raw["choices"]
    assert [c["message"]["content"] for c in choices] == ["One", "Other"]


def test_pieces_come_as_they_are_sent():
    with Gateway([stream(delta("first"), end="hang")]) as gateway, client(gateway) as asking:
        with asking.stream("x") as reading:
            assert next(reading) == "first"
            started = time.monotonic()
        assert gateway.wait(lambda g: g.closed_at)
        assert gateway.closed_at[0] - started < 0.1, "leaving the stream must cancel the call"


def test_closing_twice_or_before_the_start_does_no_harm():
    with Gateway([stream(*WHOLE)]) as gateway, client(gateway) as asking:
        unread = asking.stream("x")
        unread.close()
        unread.close()
        assert list(unread) == []
        with pytest.raises(RuntimeError):
            _ = unread.answer
        assert gateway.asked == []


def test_a_stream_that_stalls_past_its_time_raises():
    with Gateway([stream(delta("first"), end="hang")]) as gateway, client(gateway) as asking:
        with asking.stream("x", timeout_s=0.5) as reading:
            assert next(reading) == "first"
            with pytest.raises(CallTimedOut):
                next(reading)


def test_the_async_stream():
    async def run(url):
        async with AsyncClient(url, "") as asking:
            async with asking.stream("x") as reading:
                pieces = [piece async for piece in reading]
                return pieces, reading.answer.text

    with Gateway([stream(*WHOLE)]) as gateway:
        assert asyncio.run(run(gateway.url)) == (["Hel", "lo"], "Hello")


def test_cancelling_the_reader_closes_the_connection():
    async def run(gateway):
        async with AsyncClient(gateway.url, "") as asking:

            async def read():
                async with asking.stream("x") as reading:
                    async for _ in reading:
                        begun.set()

            begun = asyncio.Event()
            task = asyncio.ensure_future(read())
            await asyncio.wait_for(begun.wait(), 5)
            started = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(gateway.wait, lambda g: g.closed_at)
            return gateway.closed_at[0] - started

    with Gateway([stream(delta("first"), end="hang")]) as gateway:
        assert asyncio.run(run(gateway)) < 0.1


def test_a_whole_answer_where_a_stream_was_asked_for_is_no_silent_end():
    with Gateway([chat("all at once")]) as gateway, client(gateway) as asking, pytest.raises(StreamBroken):
        list(asking.stream("x"))


def test_an_empty_body_is_no_answer():
    with Gateway([reply(b"")]) as gateway, client(gateway) as asking, pytest.raises(StreamBroken):
        list(asking.stream("x"))
