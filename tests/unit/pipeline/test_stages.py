"""The stages of a stream: what is tallied, what the client gets, byte by byte."""

import msgspec
import pytest

from trimtab.pipeline.stages import DONE, RawLane, Tally, TypedLane, error_event, usage_wire
from trimtab.types import (
    ContentDelta,
    Done,
    Finish,
    Frame,
    ProviderFault,
    ReasoningDelta,
    RefusalDelta,
    Started,
    ToolCallDelta,
    Usage,
    UsageReport,
)

STARTED = Started("id-1", "m-1", "fp-1", 77)


def tally(*events) -> Tally:
    made = Tally()
    for event in events:
        made.add(event)
    return made


def choices(made: Tally) -> list[dict]:
    return msgspec.json.decode(made.completion())["choices"]


def typed(*events, wants_usage: bool = False) -> list[dict]:
    """What a typed lane writes for one frame, decoded event by event."""
    written = TypedLane(wants_usage=wants_usage).encode(Frame(b"", events))
    assert written.endswith(b"\n\n") or not written
    return [msgspec.json.decode(piece.removeprefix(b"data: ")) for piece in written.split(b"\n\n") if piece]


# --- the tally ----------------------------------------------------------------------------------------------


def test_a_new_tally_is_empty():
    made = Tally()
    assert made.empty
    assert not made.content_seen
    assert made.started is None
    assert made.usage is None
    assert made.finishes == {}
    assert made.text == ""
    assert made.finish_reason() == ""
    assert msgspec.json.decode(made.completion()) == {
        "id": "",
        "object": "chat.completion",
        "created": 0,
        "model": "",
        "choices": [],
    }


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (ContentDelta("a"), {"role": "assistant", "content": "a"}),
        (ReasoningDelta("a"), {"role": "assistant", "content": None, "reasoning_content": "a"}),
        (RefusalDelta("a"), {"role": "assistant", "content": None, "refusal": "a"}),
        (
            ToolCallDelta(0, "call-1", "f", "{}"),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
        ),
    ],
)
def test_each_kind_of_content_counts_as_content_and_stands_in_the_completion(event, message):
    made = tally(event)
    assert made.content_seen
    assert not made.empty
    assert choices(made) == [{"index": 0, "message": message, "finish_reason": None}]


@pytest.mark.parametrize("event", [STARTED, UsageReport(Usage(1, 2)), Done(), ProviderFault("broken")])
def test_what_is_no_part_of_an_answer_leaves_the_tally_empty(event):
    made = tally(event)
    assert made.empty
    assert not made.content_seen
    assert choices(made) == []


def test_a_finish_alone_is_an_answer_without_content():
    made = tally(Finish("stop"))
    assert not made.empty
    assert not made.content_seen
    assert choices(made) == [
        {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "stop"}
    ]


def test_pieces_are_joined_by_choice_and_choices_are_in_order():
    made = tally(
        STARTED,
        ContentDelta("x", 1),
        ContentDelta("a", 0),
        ContentDelta("y", 1),
        ContentDelta("b", 0),
        Finish("length", 1),
        Finish("stop", 0),
    )
    assert made.started is STARTED
    assert made.finishes == {0: "stop", 1: "length"}
    assert made.finish_reason() == "stop"
    assert msgspec.json.decode(made.completion()) == {
        "id": "id-1",
        "object": "chat.completion",
        "created": 77,
        "model": "m-1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": "stop"},
            {"index": 1, "message": {"role": "assistant", "content": "xy"}, "finish_reason": "length"},
        ],
    }


def test_the_first_choice_that_finished_gives_the_reason():
    assert tally(ContentDelta("a", 0), Finish("length", 2), Finish("stop", 1)).finish_reason() == "stop"


def test_pieces_of_reasoning_and_refusal_are_joined():
    [choice] = choices(
        tally(
            ReasoningDelta("a"), RefusalDelta("x"), ReasoningDelta("b"), RefusalDelta("y"), ContentDelta("c")
        )
    )
    assert choice["message"] == {
        "role": "assistant",
        "content": "c",
        "reasoning_content": "ab",
        "refusal": "xy",
    }


def test_tool_calls_are_put_together_by_index_and_listed_in_order():
    made = tally(
        ToolCallDelta(1, "call-b", "second", ""),
        ToolCallDelta(0, "call-a", "first", '{"a"'),
        ToolCallDelta(1, None, None, "{}"),
        ToolCallDelta(0, "", "", ":1}"),
        ToolCallDelta(0, "call-x", "other", "[]", choice=1),
        Finish("tool_calls"),
    )
    first, second = choices(made)
    assert first["message"]["tool_calls"] == [
        {"id": "call-a", "type": "function", "function": {"name": "first", "arguments": '{"a":1}'}},
        {"id": "call-b", "type": "function", "function": {"name": "second", "arguments": "{}"}},
    ]
    assert second["message"]["tool_calls"] == [
        {"id": "call-x", "type": "function", "function": {"name": "other", "arguments": "[]"}}
    ]
    assert (first["finish_reason"], second["finish_reason"]) == ("tool_calls", None)


def test_a_tool_call_without_id_and_name_keeps_empty_ones_and_a_later_name_replaces_the_first():
    made = tally(ToolCallDelta(0, None, None, "{"), ToolCallDelta(0, "call-1", "f", "}"))
    assert choices(made)[0]["message"]["tool_calls"] == [
        {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]
    nameless = tally(ToolCallDelta(3))
    assert choices(nameless)[0]["message"]["tool_calls"] == [
        {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    ]


def test_the_text_is_all_that_was_written_of_all_kinds_and_choices():
    made = tally(
        ContentDelta("b", 0),
        ContentDelta("c", 1),
        ReasoningDelta("a", 1),
        RefusalDelta("d", 2),
        ToolCallDelta(0, "call-1", "e", "f"),
        ToolCallDelta(0, None, None, "g"),
        ToolCallDelta(1, "call-2", "h", "i"),
        Finish("stop"),
    )
    assert made.text == "abcdefghi"


def test_the_last_usage_report_holds():
    made = tally(UsageReport(Usage(1, 1)), ContentDelta("a"), UsageReport(Usage(5, 9, reasoning_tokens=2)))
    assert made.usage == Usage(5, 9, reasoning_tokens=2)


# --- the raw lane -------------------------------------------------------------------------------------------


def test_the_raw_lane_forwards_bytes_and_takes_out_only_unwanted_usage():
    content = Frame(b"data: 1\n\n", (ContentDelta("a"),))
    usage = Frame(b"data: 2\n\n", (UsageReport(Usage(1, 1)),), usage_only=True)
    silent = RawLane(wants_usage=False)
    assert [silent.encode(frame) for frame in (content, usage)] == [b"data: 1\n\n", b""]
    wanting = RawLane(wants_usage=True)
    assert [wanting.encode(frame) for frame in (content, usage)] == [b"data: 1\n\n", b"data: 2\n\n"]


# --- the typed lane -----------------------------------------------------------------------------------------


def test_the_typed_lane_writes_chunks_and_names_the_role_once_a_choice():
    written = typed(STARTED, ContentDelta("a"), ContentDelta("b"), ContentDelta("c", 1), Finish("stop"))
    head = {
        "id": "id-1",
        "object": "chat.completion.chunk",
        "created": 77,
        "model": "m-1",
        "system_fingerprint": "fp-1",
    }

    def chunk(index, delta, reason=None):
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**head, "choices": [choice]}

    assert written == [
        chunk(0, {"role": "assistant", "content": "a"}),
        chunk(0, {"content": "b"}),
        chunk(1, {"role": "assistant", "content": "c"}),
        chunk(0, {}, "stop"),
    ]


def test_without_a_start_the_head_is_empty_and_a_missing_fingerprint_is_left_out():
    [chunk] = typed(ContentDelta("a"))
    assert {key: chunk[key] for key in chunk if key != "choices"} == {
        "id": "",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "",
    }


@pytest.mark.parametrize(
    ("event", "delta"),
    [
        (ReasoningDelta("r", 2), {"role": "assistant", "reasoning_content": "r"}),
        (RefusalDelta("r", 2), {"role": "assistant", "refusal": "r"}),
        (
            ToolCallDelta(1, "call-1", "f", "{", choice=2),
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "index": 1,
                        "function": {"arguments": "{", "name": "f"},
                        "id": "call-1",
                        "type": "function",
                    }
                ],
            },
        ),
        (
            ToolCallDelta(1, None, None, "}", choice=2),
            {"role": "assistant", "tool_calls": [{"index": 1, "function": {"arguments": "}"}}]},
        ),
    ],
)
def test_other_content_goes_out_under_its_own_name(event, delta):
    [chunk] = typed(event)
    assert chunk["choices"] == [{"index": 2, "delta": delta, "logprobs": None, "finish_reason": None}]


def test_logprobs_go_out_as_they_came():
    raw = msgspec.Raw(b'{"content":[{"token":"a","logprob":-0.5}]}')
    [chunk] = typed(ContentDelta("a", 0, raw))
    assert chunk["choices"][0]["logprobs"] == {"content": [{"token": "a", "logprob": -0.5}]}


def test_usage_goes_out_only_where_it_is_wanted():
    report = UsageReport(Usage(3, 4))
    assert typed(STARTED, report) == []
    [chunk] = typed(STARTED, report, wants_usage=True)
    assert chunk["choices"] == []
    assert chunk["usage"] == usage_wire(Usage(3, 4))
    assert chunk["id"] == "id-1"


def test_the_end_and_a_fault_have_their_own_events():
    assert TypedLane(wants_usage=False).encode(Frame(b"", (Done(),))) == b"data: [DONE]\n\n" == DONE
    [fault] = typed(ProviderFault("it broke", "oops"))
    assert fault == {
        "error": {"message": "it broke", "type": "provider_error", "param": None, "code": "oops"}
    }
    assert typed(STARTED) == []
    assert TypedLane(wants_usage=True).encode(Frame(b"ignored", ())) == b""


def test_the_lane_remembers_between_frames():
    lane = TypedLane(wants_usage=False)
    assert lane.encode(Frame(b"", (STARTED,))) == b""
    first = msgspec.json.decode(lane.encode(Frame(b"", (ContentDelta("a"),)))[6:])
    second = msgspec.json.decode(lane.encode(Frame(b"", (ContentDelta("b"),)))[6:])
    assert first["id"] == second["id"] == "id-1"
    assert "role" in first["choices"][0]["delta"]
    assert "role" not in second["choices"][0]["delta"]


# --- shapes on the wire -------------------------------------------------------------------------------------


def test_usage_on_the_wire_has_openais_names():
    usage = Usage(10, 7, 3, 0, 2, 4, 1)
    assert usage_wire(usage) == {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 1},
    }


def test_tokens_written_to_a_cache_are_named_where_there_are_any():
    assert usage_wire(Usage(10, 7, 3, 6))["prompt_tokens_details"] == {
        "cached_tokens": 3,
        "audio_tokens": 0,
        "cache_write_tokens": 6,
    }
    assert usage_wire(Usage(1, 1, 0, 1))["prompt_tokens_details"]["cache_write_tokens"] == 1


def test_an_error_event_has_openais_shape():
    written = error_event("it broke", "stream_cut", "provider_error")
    assert written.startswith(b"data: {")
    assert written.endswith(b"}\n\n")
    assert msgspec.json.decode(written[6:]) == {
        "error": {"message": "it broke", "type": "provider_error", "param": None, "code": "stream_cut"}
    }


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
def test_a_text_of_many_pieces_comes_out_whole_and_in_order(count: int) -> None:
    pieces = [f"{n} " for n in range(count)]
    made = tally(*(ContentDelta(piece) for piece in pieces))
    assert choices(made)[0]["message"]["content"] == "".join(pieces)
    assert made.text == "".join(pieces)
    assert choices(made)[0]["message"]["content"] == "".join(pieces), "asked for twice, it is the same"
