"""Server-sent events: cut the same at any chunking, read as the standard says."""

import time

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab.providers.openai.stream import ChunkReader, SseFramer
from trimtab.types import (
    ContentDelta,
    Done,
    Finish,
    ProviderFault,
    ReasoningDelta,
    RefusalDelta,
    Started,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from trimtab.types.errors import MalformedReply

alphabet = st.sampled_from([b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"a", b"data: x", b":", b"\xff"])
streams = st.lists(alphabet, max_size=24).map(b"".join)


def frames(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    framer = SseFramer()
    found = [frame for piece in pieces for frame in framer.feed(piece)]
    return found, framer.rest


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


# --- frames -------------------------------------------------------------------------------------------------


@given(streams, st.lists(st.integers(0, 500), max_size=10))
@example(b"a\r\n\r\nb\r\n\r\n", [2])
@example(b"a\r\n\r\nb\r\n\r\n", [3, 4])
@example(b"a\n\r\nb", [2])
@example(b"a\n\r", [1])
@example(b"\n\n\n\n", [1, 2, 3])
def test_frames_of_any_chunking_are_the_frames_of_the_whole(data, cuts):
    found, rest = frames(pieces_of(data, cuts))
    assert (found, rest) == frames([data])
    assert b"".join(found) + rest == data, "no byte is lost, added or moved"
    assert frames([data[n : n + 1] for n in range(len(data))]) == (found, rest)


BLANK = ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n", "\r\n\n", "\n\r", "\r\n\r"]


@pytest.mark.parametrize("blank", BLANK, ids=[repr(b) for b in BLANK])
def test_every_kind_of_blank_line_ends_a_frame(blank):
    end = blank.encode()
    whole = b"data: 1" + end + b"data: 2" + end + b"data: 3" + end + b"x"
    assert frames([whole]) == ([b"data: 1" + end, b"data: 2" + end, b"data: 3" + end], b"x")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_end_alone_ends_no_frame(end):
    whole = end.join([b"event: a", b"data: 1", b"id: 7"])
    assert frames([whole]) == ([], whole)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_whole_event_is_handed_out_with_the_read_that_brought_it(end):
    """Held until the next one it would delay every token by one: true of the three endings in use."""
    framer = SseFramer()
    for n in range(3):
        event = b"data: %d" % n + end * 2
        assert framer.feed(event) == [event]
        assert framer.rest == b""


def test_several_events_in_one_read_and_one_event_in_several():
    framer = SseFramer()
    assert framer.feed(b"data: 1\n\ndata: 2\n\nda") == [b"data: 1\n\n", b"data: 2\n\n"]
    assert framer.rest == b"da"
    assert framer.feed(b"ta: 3\n") == []
    assert framer.feed(b"") == []
    assert framer.feed(b"\ndata: 4\n\n") == [b"data: 3\n\n", b"data: 4\n\n"]
    assert framer.rest == b""


@pytest.mark.parametrize("size", [99, 100, 101])
def test_an_event_over_the_limit_is_refused_before_it_is_whole(size):
    framer = SseFramer(limit=100)
    data = b"x" * size
    if size <= 100:
        assert framer.feed(data) == []
        return
    with pytest.raises(MalformedReply, match="over 100 bytes"):
        framer.feed(data)


def test_the_limit_is_for_one_event_and_counts_over_reads():
    framer = SseFramer(limit=100)
    for _ in range(50):
        assert framer.feed(b"x" * 48 + b"\n\n" + b"y" * 48) is not None
        framer.feed(b"\n\n")
    framer.feed(b"x" * 60)
    with pytest.raises(MalformedReply):
        framer.feed(b"x" * 60)


def test_the_limit_is_16_mib_unless_told():
    framer = SseFramer()
    framer.feed(b"x" * (16 << 20))
    with pytest.raises(MalformedReply, match=str(16 << 20)):
        framer.feed(b"x")


def test_a_line_in_a_thousand_pieces_is_not_copied_a_thousand_times():
    """Linear work: 64 MiB in reads of 16 KiB take less than a second; copied at each, half a minute."""
    framer, piece = SseFramer(limit=1 << 27), b"x" * 16384
    began = time.process_time()
    for _ in range(4096):
        assert framer.feed(piece) == []
    [frame] = framer.feed(b"\n\n")
    assert time.process_time() - began < 5
    assert len(frame) == (64 << 20) + 2


# --- events -------------------------------------------------------------------------------------------------


def chunk(**fields) -> bytes:
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


def events(frame: bytes) -> tuple:
    """The events of a frame in a stream that has begun."""
    reader = ChunkReader()
    reader.read(chunk(id="first"))
    read = reader.read(frame)
    assert read.raw == frame
    return read.events


def delta(index=0, finish_reason=None, logprobs=None, **fields) -> bytes:
    return chunk(
        choices=[{"index": index, "delta": fields, "finish_reason": finish_reason, "logprobs": logprobs}]
    )


def test_the_first_chunk_says_who_answers_and_only_the_first():
    reader = ChunkReader()
    first = chunk(id="id-1", model="m-1", created=7.0, system_fingerprint="fp-1", choices=[])
    assert reader.read(first).events == (Started("id-1", "m-1", "fp-1", 7),)
    assert reader.read(first).events == ()
    assert ChunkReader().read(b"data: {}\n\n").events == (Started(),)
    nulls = chunk(id=None, model=None, created=None, system_fingerprint=None, choices=None, usage=None)
    assert ChunkReader().read(nulls).events == (Started(),)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (delta(content="a"), (ContentDelta("a"),)),
        (delta(content="a", index=3), (ContentDelta("a", 3),)),
        (delta(content=""), ()),
        (delta(content=None, role="assistant"), ()),
        (
            delta(content=[{"type": "text", "text": "a"}, {"type": "x"}, {"text": "b"}, "c"]),
            (ContentDelta("ab"),),
        ),
        (delta(reasoning_content="r", index=1), (ReasoningDelta("r", 1),)),
        (delta(reasoning="r"), (ReasoningDelta("r"),)),
        (delta(reasoning="other", reasoning_content="r"), (ReasoningDelta("r"),)),
        (delta(refusal="no", index=2), (RefusalDelta("no", 2),)),
        (delta(finish_reason="stop", index=1), (Finish("stop", 1),)),
        (delta(finish_reason=""), (Finish(""),)),
        (delta(content="a", finish_reason="length"), (ContentDelta("a"), Finish("length"))),
        (chunk(choices=[{"finish_reason": "stop"}]), (Finish("stop"),)),
        (chunk(choices=[{"index": 0, "delta": None}]), ()),
        (
            delta(tool_calls=[{"index": 1, "id": "c", "function": {"name": "f", "arguments": "{"}}]),
            (ToolCallDelta(1, "c", "f", "{"),),
        ),
        (
            delta(index=2, tool_calls=[{"function": {"arguments": "}"}}, {"id": "d"}]),
            (ToolCallDelta(0, None, None, "}", 2), ToolCallDelta(1, "d", None, "", 2)),
        ),
        (
            delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": None}}]),
            (ToolCallDelta(0, None, "f", ""),),
        ),
        (
            chunk(choices=[{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]),
            (ContentDelta("b", 1), ContentDelta("a", 0)),
        ),
        (chunk(error={"message": "m", "code": "c"}), (ProviderFault("m", "c"),)),
        (chunk(error="down"), (ProviderFault("down"),)),
        (chunk(error={"type": "t"}), (ProviderFault("t", "t"),)),
        (chunk(error={}), (ProviderFault("no message"),)),
        (chunk(error={"message": "m", "code": 503}), (ProviderFault("m", "503"),)),
        (b": keep-alive\n\n", ()),
        (b"\n\n", ()),
        (b"event: ping\n\n", ()),
        (b"data:\n\n", ()),
        (b"data: [DONE]\n\n", (Done(),)),
        (b"data:[DONE]\n\n", (Done(),)),
        (b"data: [DONE]\r\n\r\n", (Done(),)),
        (b"event: x\ndata: [DONE]\n\n", (Done(),)),
    ],
)
def test_what_a_frame_says(frame, expected):
    assert events(frame) == expected


def test_logprobs_stay_undecoded_and_null_ones_are_none():
    [said] = events(delta(content="a", logprobs={"content": [{"token": "a", "logprob": -0.1}]}))
    assert msgspec.json.decode(said.logprobs) == {"content": [{"token": "a", "logprob": -0.1}]}
    [silent] = events(delta(content="a"))
    assert silent.logprobs is None
    [absent] = events(chunk(choices=[{"index": 0, "delta": {"content": "a"}}]))
    assert absent.logprobs is None


@pytest.mark.parametrize(("choices", "usage_only"), [([], True), (None, True), ([{"index": 0}], False)])
def test_a_chunk_with_nothing_but_usage_is_marked(choices, usage_only):
    reader = ChunkReader()
    reader.read(chunk(id="first"))
    frame = reader.read(chunk(choices=choices, usage={"prompt_tokens": 3, "completion_tokens": 4}))
    assert frame.events == (UsageReport(Usage(3, 4)),)
    assert frame.usage_only is usage_only


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": 5}])
def test_usage_without_figures_is_no_report(usage):
    reader = ChunkReader()
    reader.read(chunk(id="first"))
    frame = reader.read(chunk(choices=[], usage=usage))
    assert frame.events == ()
    assert frame.usage_only is (usage is not None)  # who did not ask for usage need not see it


@pytest.mark.parametrize(
    "frame",
    [
        b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"a"}}]}\n\n',
        b'data: {"choices":[{"index":0,\r\ndata: "delta":{"content":"a"}}]}\r\n\r\n',
        b'data: {"choices":[{"index":0,\rdata: "delta":{"content":"a"}}]}\r\r',
        b': hello\nevent: message\nid: 1\ndata:{"choices":[{"index":0,"delta":{"content":"a"}}]}\nretry: 5\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\r\n',
        b'\ndata: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
    ],
)
def test_data_lines_are_joined_and_other_lines_left_aside(frame):
    assert events(frame) == (ContentDelta("a"),)


@pytest.mark.parametrize(
    "frame",
    [
        b"data: {\n\n",
        b"data: nonsense\n\n",
        b"data: []\n\n",
        b'data: {"choices":7}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n',
        b"data: [DONE\n\n",
        b"data: [DONE] x\n\n",
    ],
)
def test_data_that_is_no_chunk_is_refused(frame):
    with pytest.raises(MalformedReply, match="cannot be read"):
        events(frame)
