"""What takes an erased record's place, byte by byte: the layout is a file format, and files outlive programs."""

import struct
import zlib

import msgspec
import pytest

from trimtab.ledger.frames import (
    FRAME_HEAD_BYTES,
    MARKER,
    Blank,
    FrameEncoder,
    FrameScanner,
    Header,
    encode_header,
)

SEGMENT = bytes(range(16))
HEADER = encode_header(Header(1_790_000_000_000_000, bytes(16), SEGMENT))
ID = "01990000-0000-7000-8000-000000000001"
LEAST = FRAME_HEAD_BYTES + len(b"\x94\xa1x\xa1o") + len(msgspec.msgpack.encode(ID)) + 5


@pytest.fixture
def scanner():
    """One that has read its segment's header, as it must have before it blanks."""
    scanner = FrameScanner(b"\xff" * 16)  # the header's id counts, not the name's
    assert scanner.feed(HEADER) == []
    return scanner


@pytest.mark.parametrize("size", [LEAST, LEAST + 1, LEAST + 300, LEAST + 70_000])
@pytest.mark.parametrize("kind", ["o", "c", "f", "s"])
def test_a_blank_is_as_long_as_asked_and_reads_back(scanner, size, kind):
    frame = scanner.blanked(size, kind, ID)
    assert len(frame) == size
    assert scanner.record_at(frame) == Blank(kind, ID, bytes(size - LEAST))


def test_layout(scanner):
    payload = b"\x94" + msgspec.msgpack.encode("x") + msgspec.msgpack.encode("f") + msgspec.msgpack.encode(ID)
    payload += b"\xc6" + struct.pack(">I", 40) + bytes(40)
    seed = zlib.crc32(SEGMENT)
    head = MARKER + struct.pack("<II", len(payload), zlib.crc32(payload, seed))
    assert scanner.blanked(LEAST + 40, "f", ID) == head + struct.pack("<I", zlib.crc32(head, seed)) + payload


def test_a_frame_too_short_for_its_id_is_refused(scanner):
    for size in (LEAST - 1, FRAME_HEAD_BYTES, 0):
        with pytest.raises(ValueError, match="no record of id"):
            scanner.blanked(size, "o", ID)


def test_it_takes_a_record_s_place_and_its_neighbours_stay(scanner, opened, closed, feedback):
    encoder = FrameEncoder(SEGMENT)
    first = opened()
    records = [first, closed(first.id), feedback(first.id)]
    frames = [bytes(encoder.encode(record)) for record in records]
    blank = scanner.blanked(len(frames[1]), "c", first.id)
    fresh = FrameScanner(SEGMENT)
    framed = fresh.feed(HEADER + frames[0] + blank + frames[2])
    assert [one.record for one in framed][::2] == [records[0], records[2]]
    assert isinstance(framed[1].record, Blank)
    assert (framed[1].record.kind, framed[1].record.id) == ("c", first.id)
    assert not any(framed[1].record.padding)
    assert fresh.damaged_bytes == 0
