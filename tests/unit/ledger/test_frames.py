"""Segment framing, byte by byte: the layout is a file format, and files outlive programs."""

import random
import struct
import zlib

import msgspec
import pytest

from trimtab.ledger import frames
from trimtab.ledger.frames import (
    FRAME_HEAD_BYTES,
    HEADER_BYTES,
    MARKER,
    FrameEncoder,
    FrameScanner,
    Header,
    decode_header,
    encode_header,
)
from trimtab.types.errors import FormatTooNew

SEGMENT = bytes(range(16))
OTHER = bytes(range(16, 32))
HEADER = encode_header(Header(1_790_000_000_000_000, OTHER, SEGMENT))


@pytest.fixture
def three(opened, closed, feedback):
    """Three records and their frames."""
    first = opened()
    records = [first, closed(first.id), feedback(first.id)]
    encoder = FrameEncoder(SEGMENT)
    return records, [bytes(encoder.encode(record)) for record in records]


def scan(data, segment=SEGMENT):
    scanner = FrameScanner(segment)
    return scanner, scanner.feed(data)


def records_of(framed):
    return [one.record for one in framed]


def frame_by_hand(payload, *, segment=SEGMENT, length=None, crc=None, check=None):
    seed = zlib.crc32(segment)
    head = MARKER + struct.pack(
        "<II", len(payload) if length is None else length, zlib.crc32(payload, seed) if crc is None else crc
    )
    return head + struct.pack("<I", zlib.crc32(head, seed) if check is None else check) + payload


# The layout, which must not change while FORMAT is 1


def test_header_layout():
    body = b"TTLOG\r\n\x1a" + b"\x01\x00" + struct.pack("<Q", 1_790_000_000_000_000) + OTHER + SEGMENT
    assert body + struct.pack("<I", zlib.crc32(body)) == HEADER
    assert len(HEADER) == HEADER_BYTES == 54


def test_frame_layout(three):
    records, encoded = three
    for record, frame in zip(records, encoded, strict=True):
        assert frame == frame_by_hand(msgspec.msgpack.encode(record))
    assert FRAME_HEAD_BYTES == 16
    assert MARKER == b"\xf7TT\n"


def test_header_round_trip():
    assert decode_header(HEADER) == Header(1_790_000_000_000_000, OTHER, SEGMENT)
    assert decode_header(HEADER + b"more") == Header(1_790_000_000_000_000, OTHER, SEGMENT)


def test_header_that_is_short_or_damaged_is_none():
    for cut in range(HEADER_BYTES):
        assert decode_header(HEADER[:cut]) is None
    for place in range(HEADER_BYTES):
        damaged = bytearray(HEADER)
        damaged[place] ^= 1
        assert decode_header(bytes(damaged)) is None, place


def test_wrong_magic_is_no_header_even_with_a_right_check():
    body = b"OTHERLOG" + HEADER[8:-4]
    assert decode_header(body + struct.pack("<I", zlib.crc32(body))) is None


def newer(version=2):
    body = HEADER[:8] + struct.pack("<H", version) + HEADER[10:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def test_newer_format_is_refused_and_named(three):
    with pytest.raises(FormatTooNew, match=r"format 2, and this Trimtab reads up to 1; run the newer"):
        decode_header(newer())
    with pytest.raises(FormatTooNew):
        scan(newer() + three[1][0])


def test_a_damaged_version_is_damage_and_not_a_newer_format(three):
    damaged = bytearray(HEADER)
    damaged[8] = 2
    scanner, found = scan(bytes(damaged) + b"".join(three[1]))
    assert records_of(found) == three[0]
    assert scanner.header is None
    assert scanner.damaged_bytes == HEADER_BYTES


# Reading


def test_all_records_with_their_places(three):
    records, encoded = three
    scanner, found = scan(HEADER + b"".join(encoded))
    assert records_of(found) == records
    place = HEADER_BYTES
    for one, frame in zip(found, encoded, strict=True):
        assert (one.start, one.end) == (place, place + len(frame))
        place = one.end
    assert scanner.offset == place
    assert scanner.damaged_bytes == 0
    assert scanner.header == Header(1_790_000_000_000_000, OTHER, SEGMENT)
    assert scanner.need == FRAME_HEAD_BYTES


def test_places_count_from_the_start_of_the_segment_in_later_feeds(three):
    records, encoded = three
    scanner, found = scan(HEADER + encoded[0])
    later = scanner.feed(encoded[1] + encoded[2])
    assert records_of(found + later) == records
    assert (later[0].start, later[0].end) == (found[0].end, found[0].end + len(encoded[1]))
    assert (later[1].start, later[1].end) == (later[0].end, scanner.offset)


def test_every_truncation_gives_the_whole_frames_and_waits(three):
    records, encoded = three
    whole = HEADER + b"".join(encoded)
    ends = [HEADER_BYTES]
    for frame in encoded:
        ends.append(ends[-1] + len(frame))
    for cut in range(len(whole) + 1):
        scanner, found = scan(whole[:cut])
        complete = sum(end <= cut for end in ends[1:])
        assert records_of(found) == records[:complete]
        assert scanner.damaged_bytes == 0
        assert scanner.offset == (ends[complete] if cut >= HEADER_BYTES else 0)
        # What it asks for is more than what is there, and no more than brings it further.
        rest = cut - scanner.offset
        assert rest < scanner.need
        if cut < HEADER_BYTES:
            assert scanner.need == HEADER_BYTES
        elif rest < FRAME_HEAD_BYTES:
            assert scanner.need == FRAME_HEAD_BYTES
        else:
            assert scanner.need == len(encoded[complete])
        # The rest comes: nothing is lost, nothing is seen twice.
        assert records_of(found + scanner.feed(whole[scanner.offset :])) == records


def test_a_torn_frame_may_give_way_to_another(three):
    records, encoded = three
    scanner, found = scan(HEADER + encoded[0][:40])
    assert found == []
    assert records_of(scanner.feed(encoded[1])) == [records[1]]
    assert scanner.damaged_bytes == 0


def test_the_header_counts_for_all_later_feeds(three):
    """Its id gives the seed, whatever the file is called, and it is looked for only once."""
    records, encoded = three
    scanner, found = scan(HEADER, segment=b"renamed")
    assert found == []
    assert records_of(scanner.feed(encoded[0])) == records[:1]
    assert records_of(scanner.feed(encoded[1] + encoded[2])) == records[1:]
    assert scanner.header == Header(1_790_000_000_000_000, OTHER, SEGMENT)
    headless, _ = scan(bytes(HEADER_BYTES))
    assert headless.feed(bytes(20)) == []
    assert headless.damaged_bytes == HEADER_BYTES + 20


def test_nothing_and_then_nothing():
    scanner, found = scan(b"")
    assert found == []
    assert (scanner.offset, scanner.need, scanner.header) == (0, HEADER_BYTES, None)
    scanner, found = scan(HEADER)
    assert scanner.feed(b"") == []
    assert scanner.offset == HEADER_BYTES


# Damage


def test_any_damaged_byte_costs_only_its_own_frame(three):
    records, encoded = three
    whole = HEADER + b"".join(encoded)
    ends = [HEADER_BYTES]
    for frame in encoded:
        ends.append(ends[-1] + len(frame))
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x40
        scanner, found = scan(bytes(damaged))
        hit = sum(end <= place for end in ends)
        expected = records if hit == 0 else records[: hit - 1] + records[hit:]
        assert records_of(found) == expected, place
        assert scanner.damaged_bytes == (HEADER_BYTES if hit == 0 else len(encoded[hit - 1])), place
        assert scanner.offset == len(whole)


def test_garbage_between_frames_is_counted_exactly(three):
    records, encoded = three
    garbage = b"\x00" * 1000 + MARKER + b"\xff" * 50 + MARKER[:2]
    scanner, found = scan(HEADER + encoded[0] + garbage + encoded[1])
    assert records_of(found) == records[:2]
    assert scanner.damaged_bytes == len(garbage)
    assert found[1].start == found[0].end + len(garbage)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_marker_that_has_only_begun_is_not_yet_damage(three, length):
    records, encoded = three
    scanner, found = scan(HEADER + encoded[0] + b"garbage" + encoded[1][:length])
    assert records_of(found) == records[:1]
    assert scanner.damaged_bytes == len(b"garbage")
    assert records_of(scanner.feed(encoded[1])) == [records[1]]


def test_a_marker_s_beginning_inside_garbage_is_damage(three):
    records, encoded = three
    scanner, _ = scan(HEADER + encoded[0] + MARKER[:3] + b"garbage")
    assert scanner.damaged_bytes == 10
    assert scanner.offset == len(HEADER + encoded[0]) + 10
    assert records_of(scanner.feed(encoded[1])) == [records[1]]


def test_markers_in_a_row(three):
    records, encoded = three
    scanner, found = scan(HEADER + MARKER * 5 + encoded[0])
    assert records_of(found) == records[:1]
    assert scanner.damaged_bytes == 5 * len(MARKER)


def test_frames_inside_a_frame_that_lost_bytes_are_found(three):
    records, encoded = three
    torn = encoded[0][: FRAME_HEAD_BYTES + 10]  # the rest of it never reached the disk
    scanner, found = scan(HEADER + torn + encoded[1] + encoded[2] + encoded[0])
    assert records_of(found) == [records[1], records[2], records[0]]
    assert scanner.damaged_bytes == len(torn)


def test_bytes_that_a_caller_sends_cannot_become_a_record(opened, closed):
    """A request that holds frames, in a frame that is damaged: they have not this segment's seed."""
    forged = bytes(FrameEncoder(OTHER).encode(closed("forged")))
    carrier = bytearray(FrameEncoder(SEGMENT).encode(opened(request=forged * 3)))
    assert forged in carrier
    carrier[20] ^= 0xFF
    scanner, found = scan(HEADER + bytes(carrier))
    assert found == []
    assert scanner.damaged_bytes == len(carrier)


def test_damaged_header_leaves_the_frames_to_the_id_in_the_name(three):
    scanner, found = scan(b"\x00" * HEADER_BYTES + b"".join(three[1]))
    assert records_of(found) == three[0]
    assert scanner.header is None
    scanner, found = scan(b"\x00" * HEADER_BYTES + b"".join(three[1]), segment=OTHER)
    assert found == []


def test_a_file_without_its_header_still_gives_its_frames(three):
    scanner, found = scan(b"".join(three[1]))
    assert records_of(found) == three[0]
    assert scanner.damaged_bytes == 0
    assert found[0].start == 0


def test_renamed_segment_is_read_by_its_header(three):
    _, found = scan(HEADER + b"".join(three[1]), segment=b"")
    assert records_of(found) == three[0]


# Lengths that lie


def test_a_wrong_length_is_known_at_once_and_nothing_is_awaited(three):
    records, encoded = three
    for length in (0, 1, len(encoded[0]), 1 << 20, (1 << 32) - 1):
        lying = bytearray(encoded[0])
        lying[4:8] = struct.pack("<I", length)
        scanner, found = scan(HEADER + bytes(lying) + encoded[1])
        assert records_of(found) == [records[1]], length
        assert scanner.damaged_bytes == len(lying)


def test_over_the_limit_is_damage_even_with_a_right_check(three):
    records, encoded = three
    huge = frame_by_hand(b"", length=frames.MAX_PAYLOAD + 1)
    scanner, found = scan(HEADER + huge + encoded[1])
    assert records_of(found) == [records[1]]
    assert scanner.damaged_bytes == len(huge)
    awaited, _ = scan(HEADER + frame_by_hand(b"", length=frames.MAX_PAYLOAD) + encoded[1])
    assert awaited.need == FRAME_HEAD_BYTES + frames.MAX_PAYLOAD
    assert awaited.damaged_bytes == 0


def test_limit_is_256_mib():
    assert frames.MAX_PAYLOAD == 268_435_456


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x91\xa1z",
        b"\x92\xa1o\xa1\xff",
        b"\x91" * 100_000,
        msgspec.msgpack.encode({"a": 1}),
    ],
)
def test_an_intact_frame_that_is_no_record_is_damage(three, payload):
    records, encoded = three
    strange = frame_by_hand(payload)
    scanner, found = scan(HEADER + strange + encoded[1])
    assert records_of(found) == [records[1]]
    assert scanner.damaged_bytes == len(strange)


def test_wrong_payload_crc_with_a_right_head(three):
    records, encoded = three
    wrong = frame_by_hand(encoded[0][16:], crc=1)
    scanner, found = scan(HEADER + wrong + encoded[1])
    assert records_of(found) == [records[1]]
    assert scanner.damaged_bytes == len(wrong)


def test_a_later_field_does_not_stop_this_reader(opened):
    """Fields are appended with defaults: a newer writer's longer record is read by an older Trimtab."""
    record = opened()
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(msgspec.msgpack.encode(record)), "new field"])
    _, found = scan(HEADER + frame_by_hand(longer))
    assert records_of(found) == [record]


def test_garbage_is_scanned_in_proportion_to_its_length():
    noise = random.Random(4).randbytes(300_000)
    for garbage in (
        noise,
        MARKER * 50_000,
        frame_by_hand(b"", length=1 << 27)[:15] * 5_000,
        b"\xf7" * 100_000,
    ):
        scanner, found = scan(HEADER + garbage)
        assert found == []
        assert scanner.offset <= HEADER_BYTES + len(garbage)
        assert scanner.damaged_bytes == scanner.offset - HEADER_BYTES
        assert HEADER_BYTES + len(garbage) - scanner.offset < FRAME_HEAD_BYTES


# One frame again


def test_record_at_reads_exactly_one_frame(three):
    records, encoded = three
    scanner, _ = scan(HEADER)
    assert scanner.record_at(encoded[1]) == records[1]
    for cut in range(len(encoded[1])):
        assert scanner.record_at(encoded[1][:cut]) is None
    assert scanner.record_at(encoded[1] + b"x") is None
    assert scanner.record_at(encoded[1] + encoded[2]) is None
    for place in range(len(encoded[1])):
        damaged = bytearray(encoded[1])
        damaged[place] ^= 1
        assert scanner.record_at(bytes(damaged)) is None
    assert scanner.offset == HEADER_BYTES


# Writing


def test_encoder_uses_its_buffer_again_for_long_and_short_records(opened):
    encoder = FrameEncoder(SEGMENT)
    for size in (10, 100_000, 0, 5_000, 1):
        record = opened(request=b"x" * size)
        frame = bytes(encoder.encode(record))
        _, found = scan(HEADER + frame)
        assert records_of(found) == [record]


def test_text_that_utf8_cannot_hold_is_stored_with_question_marks(opened, closed):
    encoder = FrameEncoder(SEGMENT)
    broken = opened(client="a\ud800b", tags=("\udfff", "ok"), user="日本")
    findings = ({"k\ud800": ["\ud801", 1, None, {"deep": "\ud802"}]},)
    also = closed("id", findings=findings, error_message="\udcff")
    _, found = scan(HEADER + bytes(encoder.encode(broken)) + bytes(encoder.encode(also)))
    first, second = records_of(found)
    assert first == opened(broken.id, client="a?b", tags=("?", "ok"), user="日本")
    assert second.error_message == "?"
    assert second.findings == ({"k?": ["?", 1, None, {"deep": "?"}]},)
    assert second.usage == also.usage


def test_what_cannot_be_encoded_raises_and_the_encoder_works_on(opened, closed):
    encoder = FrameEncoder(SEGMENT)
    with pytest.raises(TypeError):
        encoder.encode(closed("id", findings=({"o": object()},)))
    with pytest.raises(OverflowError):
        encoder.encode(closed("id", cost_nusd=1 << 64))
    record = opened()
    assert records_of(scan(HEADER + bytes(encoder.encode(record)))[1]) == [record]


def test_over_the_limit_is_refused(opened, monkeypatch):
    encoder = FrameEncoder(SEGMENT)
    record = opened()
    size = len(encoder.encode(record)) - FRAME_HEAD_BYTES
    monkeypatch.setattr(frames, "MAX_PAYLOAD", size)
    encoder.encode(record)
    monkeypatch.setattr(frames, "MAX_PAYLOAD", size - 1)
    with pytest.raises(ValueError, match=f"a record of {size} bytes is over the log's limit of {size - 1}"):
        encoder.encode(record)
