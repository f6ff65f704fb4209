"""Both lanes of a stream, whatever passes through them: nothing is lost, added or reordered."""

from functools import reduce

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from trimtab.pipeline.stages import DONE, RawLane, Tally, TypedLane, usage_wire
from trimtab.providers.openai.stream import ChunkReader, SseFramer
from trimtab.types import (
    ContentDelta,
    Done,
    Event,
    Finish,
    Frame,
    ProviderFault,
    ReasoningDelta,
    RefusalDelta,
    Started,
    ToolCallDelta,
    Usage,
    UsageReport,
    later,
)

some_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(
    ["data: [DONE]\n\n", "\n\n", "\r\n\r\n", '"}', "\\", "\x00", "\u2028", "日本", "[DONE]"]
)
choice = st.integers(0, 3)
count = st.integers(0, 10**7)
logprobs = st.none() | st.builds(
    lambda token, p: msgspec.Raw(msgspec.json.encode({"content": [{"token": token, "logprob": p}]})),
    some_text,
    st.floats(-100, 0),
)
usage = st.builds(
    lambda read, wrote, thought, *parts: Usage(
        read, wrote + thought, parts[0], parts[1], thought, *parts[2:]
    ),
    st.integers(1, 10**7),
    *[count] * 6,
)
"""What a provider may report: some input, and reasoning within the output."""
started = st.builds(Started, some_text, some_text, some_text | st.just(""), st.integers(0, 2**40))
content = st.one_of(
    st.builds(ContentDelta, some_text, choice, logprobs),
    st.builds(ReasoningDelta, some_text, choice),
    st.builds(RefusalDelta, some_text, choice),
    st.builds(
        ToolCallDelta,
        st.integers(0, 5),
        st.none() | some_text,
        st.none() | some_text,
        some_text | st.just(""),
        choice,
    ),
    st.builds(Finish, some_text, choice),
)
event = content | st.builds(UsageReport, usage)
sequences = st.lists(event, min_size=1, max_size=12)


@st.composite
def cut_at(draw, data: bytes) -> list[bytes]:
    """Return the bytes in pieces, as a socket might hand them over."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def read(data: list[bytes]) -> list[Event]:
    framer, reader = SseFramer(), ChunkReader()
    events = [e for piece in data for raw in framer.feed(piece) for e in reader.read(raw).events]
    assert framer.rest == b""
    return events


def plain(events: list[Event]) -> list[object]:
    """Return events so that equal ones compare equal: undecoded JSON compares by its bytes."""
    return [
        (e.text, e.choice, bytes(e.logprobs) if e.logprobs else None) if isinstance(e, ContentDelta) else e
        for e in events
    ]


@st.composite
def framed(draw, events: list[Event]) -> list[Frame]:
    """Return the events in frames of one or several."""
    frames = []
    while events:
        size = draw(st.integers(1, len(events)))
        frames.append(Frame(b"", tuple(events[:size])))
        events = events[size:]
    return frames


@given(started, sequences, st.data())
def test_what_the_typed_lane_writes_reads_back_as_the_same_events(start, events, data):
    said = [start, *events, Done()]
    lane = TypedLane(wants_usage=True)
    written = b"".join(lane.encode(frame) for frame in data.draw(framed(said)))
    assert written.endswith(DONE)
    assert plain(read(data.draw(cut_at(written)))) == plain(said)


@given(started, sequences)
def test_without_a_wish_for_usage_all_but_the_usage_reads_back(start, events):
    lane = TypedLane(wants_usage=False)
    written = b"".join(lane.encode(Frame(b"", (e,))) for e in [start, *events, Done()])
    left = [e for e in events if not isinstance(e, UsageReport)]
    expected = [start, *left, Done()] if left else [Done()]  # a start alone shows only with what follows
    assert plain(read([written])) == plain(expected)


@given(some_text, some_text)
def test_a_fault_reads_back_as_the_same_fault(message, code):
    written = TypedLane(wants_usage=False).encode(Frame(b"", (ProviderFault(message, code),)))
    assert read([written]) == [ProviderFault(message, code)]


@given(usage)
def test_usage_on_the_wire_reads_back_part_by_part(parts):
    lane = TypedLane(wants_usage=True)
    [_, report] = read([lane.encode(Frame(b"", (UsageReport(parts),)))])
    assert report == UsageReport(parts)
    wire = usage_wire(parts)
    assert wire["total_tokens"] == parts.input_tokens + parts.output_tokens


@st.composite
def raw_streams(draw) -> list[tuple[bytes, bool]]:
    """Return server-sent events as a provider may write them, and whether each carries nothing but usage."""
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    events = []
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["chunk", "usage", "both", "comment", "named", "empty"]))
        parts = {"prompt_tokens": draw(count), "completion_tokens": draw(count)}
        delta = [{"index": 0, "delta": {"content": draw(some_text)}, "unknown": draw(count)}]
        body = {
            "chunk": {"choices": delta, "usage": None},
            "usage": {"choices": [], "usage": parts},
            "both": {"choices": delta, "usage": parts},
        }.get(kind, {"choices": delta})
        line = b"data:" + draw(st.sampled_from([b"", b" "])) + msgspec.json.encode(body)
        lines = {"comment": [b": keep-alive"], "named": [b"event: x", b"id: 7", line], "empty": [b"data:"]}
        events.append((end.join([*lines.get(kind, [line]), b"", b""]), kind == "usage"))
    events.append((b"data: [DONE]" + end * 2, False))
    return events


@given(raw_streams(), st.booleans(), st.data())
def test_the_raw_lane_gives_the_bytes_that_came_but_for_unwanted_usage(events, wants_usage, data):
    whole = b"".join(raw for raw, _ in events)
    framer, reader, lane = SseFramer(), ChunkReader(), RawLane(wants_usage=wants_usage)
    out, kinds = b"", []
    for piece in data.draw(cut_at(whole)):
        for raw in framer.feed(piece):
            frame = reader.read(raw)
            kinds.extend(type(e) for e in frame.events)
            out += lane.encode(frame)
    assert framer.rest == b""
    assert out == b"".join(raw for raw, usage_only in events if wants_usage or not usage_only)
    assert kinds.count(Done) == 1
    assert kinds[-1] is Done


@given(started, st.lists(event, max_size=20), st.data())
def test_the_tally_of_a_stream_is_the_completion_that_its_events_make(start, events, data):
    tally = Tally()
    for e in [start, *events]:
        tally.add(e)
    parts = [e for e in events if not isinstance(e, UsageReport)]
    reports = [e.usage for e in events if isinstance(e, UsageReport)]
    finishes = {e.choice: e.reason for e in parts if isinstance(e, Finish)}
    assert tally.usage == (reduce(later, reports) if reports else None)
    assert tally.finishes == finishes
    assert tally.content_seen == any(not isinstance(e, Finish) for e in parts)
    assert tally.empty == (not parts)
    made = msgspec.json.decode(tally.completion())
    assert [c["index"] for c in made["choices"]] == sorted({e.choice for e in parts})
    for one in made["choices"]:
        mine = [e for e in parts if e.choice == one["index"]]
        assert one["finish_reason"] == finishes.get(one["index"])
        for kind, field in (
            (ContentDelta, "content"),
            (ReasoningDelta, "reasoning_content"),
            (RefusalDelta, "refusal"),
        ):
            text = "".join(e.text for e in mine if isinstance(e, kind))
            assert (one["message"].get(field) or "") == text
        arguments = "".join(c["function"]["arguments"] for c in one["message"].get("tool_calls", []))
        calls = [e for e in mine if isinstance(e, ToolCallDelta)]
        assert len(arguments) == sum(len(e.arguments) for e in calls)
    said = "".join(e.text for e in parts if hasattr(e, "text"))
    assert len(tally.text) >= len(said)
