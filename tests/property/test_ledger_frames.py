"""Framing, for any records, any cuts, any damage and any garbage."""

from hypothesis import given
from hypothesis import strategies as st

from trimtab.ledger.frames import (
    HEADER_BYTES,
    MARKER,
    FrameEncoder,
    FrameScanner,
    Header,
    encode_header,
)
from trimtab.types import Attempt, Closed, FeedbackGiven, Opened, Usage

SEGMENT = b"\x01\x9a" + bytes(range(14))
HEADER = encode_header(Header(1, bytes(16), SEGMENT))

text = st.text(max_size=20)
blob = st.one_of(st.binary(max_size=60), st.just(MARKER * 4), st.just(bytes(FrameEncoder(b"").encode(
    FeedbackGiven("f", "c", 1, "p", "n", None, "", "", "", "", "")
))))  # fmt: skip
count = st.integers(0, 2**63 - 1)
opened = st.builds(
    Opened,
    id=text,
    opened_us=count,
    tags=st.lists(text, max_size=3).map(tuple),
    request=blob,
    variables=blob,
    **{name: text for name in ("project", "model", "key", "user", "session", "client", "route", "release")},
    purpose=st.sampled_from(["live", "eval", "probe"]),
    payload=st.sampled_from(["full", "hash", "none"]),
)
closed = st.builds(
    Closed,
    id=text,
    closed_us=count,
    first_byte_us=count,
    status=count,
    state=st.sampled_from(["ok", "error", "cancelled"]),
    attempts=st.lists(st.builds(Attempt, target=text, started_us=count, took_us=count), max_size=3).map(
        tuple
    ),
    usage=st.builds(Usage, input_tokens=count, output_tokens=count, estimated=st.booleans()),
    cost_nusd=count,
    response=blob,
    findings=st.lists(st.dictionaries(text, st.one_of(text, count, st.none())), max_size=2).map(tuple),
)
feedback = st.builds(
    FeedbackGiven, at_us=count, id=text, call_id=text, score=st.one_of(st.none(), st.floats(allow_nan=False))
)
records = st.lists(st.one_of(opened, closed, feedback), max_size=8)


def frames_of(items):
    encoder = FrameEncoder(SEGMENT)
    return [bytes(encoder.encode(item)) for item in items]


def read(data, pieces=()):
    """Scan as a reader does, seeing the data grow by pieces."""
    scanner = FrameScanner(SEGMENT)
    found = []
    for end in [*pieces, len(data)]:
        found += scanner.feed(data[scanner.offset : end])
    return scanner, found


@given(records, st.lists(st.integers(0, 4000), max_size=6))
def test_any_records_come_back_however_the_file_grows(items, cuts):
    data = HEADER + b"".join(frames_of(items))
    scanner, found = read(data, sorted(min(cut, len(data)) for cut in cuts))
    assert [one.record for one in found] == items
    assert scanner.damaged_bytes == 0
    assert scanner.offset == len(data)


@given(records, st.data())
def test_any_truncation_yields_exactly_the_complete_prefix(items, data):
    frames = frames_of(items)
    whole = HEADER + b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    scanner, found = read(whole[:cut])
    complete, end = 0, HEADER_BYTES
    while complete < len(frames) and end + len(frames[complete]) <= cut:
        end += len(frames[complete])
        complete += 1
    assert [one.record for one in found] == items[:complete]
    assert scanner.damaged_bytes == 0


@given(records.filter(bool), st.data())
def test_any_damaged_byte_loses_at_most_its_frame_and_is_reported(items, data):
    frames = frames_of(items)
    whole = bytearray(HEADER + b"".join(frames))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    scanner, found = read(bytes(whole))
    hit, end = -1, HEADER_BYTES
    while end <= place:
        hit += 1
        end += len(frames[hit])
    expected = items if hit < 0 else items[:hit] + items[hit + 1 :]
    assert [one.record for one in found] == expected
    lost = HEADER_BYTES if hit < 0 else len(frames[hit])
    rest = len(whole) - scanner.offset
    assert scanner.damaged_bytes + rest == lost
    # Only damage at the very end can still look like a frame that has begun; there it is a torn tail.
    assert scanner.damaged_bytes or hit == len(frames) - 1


garbage = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from([MARKER, MARKER[:3], b"\x00" * 9, b"\xff" * 16, HEADER[:20]]), max_size=30).map(
        b"".join
    ),
)


@given(garbage, records, garbage, st.booleans())
def test_arbitrary_garbage_only_ever_gets_counted(before, items, after, has_header):
    frames = b"".join(frames_of(items))
    start = HEADER if has_header else b""
    scanner, found = read(start + before + frames + after)
    got = [one.record for one in found]
    if len(start + before + frames + after) >= HEADER_BYTES:
        assert got == items
        rest = len(start + before + frames + after) - scanner.offset
        assert scanner.damaged_bytes + rest == len(before + after)
    assert scanner.damaged_bytes <= len(before + after)
