"""How records lie in a segment file of the append log: pure encoding and decoding, no I/O.

A segment is one header, then frames until its end; all integers are little-endian:

    header  magic 8s | format u16 | created u64 (µs since 1970) | writer id 16s | segment id 16s | check u32
    frame   marker 4s | length u32 | payload CRC u32 | check u32 | payload

`check` is the CRC-32 (zlib, ISO 3309) of all that precedes it in the header or the frame's head. A frame's
CRCs start from a seed taken from the segment's id, which no caller knows: bytes that a caller sends, and that
end up inside a payload, are not taken for a frame when a scan has to find its place again after damage. The
head has a check of its own, so that a wrong length is known at once: nothing is awaited because of it. The
payload is the MessagePack form of a `trimtab.types.Record`, or of a `Blank` where one was erased.

The first 54 bytes keep this layout in every later format, so that any reader can tell a newer file from a
damaged one.
"""

import struct
from typing import Any, Literal, NamedTuple, cast
from zlib import crc32

import msgspec

from trimtab.types import Record
from trimtab.types.errors import FormatTooNew

FORMAT = 1
MAGIC = b"TTLOG\r\n\x1a"
"""As in PNG (RFC 2083, section 12.11): a transfer that rewrites line ends is noticed."""
MARKER = b"\xf7TT\x0a"
"""Starts a frame. 0xF7 never occurs in UTF-8, and no part of the marker repeats its beginning."""
MAX_PAYLOAD = 256 * 1024 * 1024
"""Bytes in one record; far above any body limit, and a bound on what a reader ever holds for one frame."""

_HEADER = struct.Struct("<8sHQ16s16sI")
_HEADER_CHECKED = struct.Struct("<8sHQ16s16s")
_HEAD = struct.Struct("<4sIII")
_HEAD_CHECKED = struct.Struct("<4sII")
HEADER_BYTES = _HEADER.size
FRAME_HEAD_BYTES = _HEAD.size


class Header(NamedTuple):
    """What a segment says of itself."""

    created_us: int
    writer_id: bytes
    """16 bytes, the same in all segments of one writer's life."""
    segment_id: bytes
    """16 bytes; also in the file's name."""


RecordKind = Literal["o", "c", "f", "s"]
"""What a record was: an opening, a closing, feedback or a span."""


class Blank(msgspec.Struct, frozen=True, array_like=True, tag="x"):
    """What stands in a record's place once it was erased; as long as the record was."""

    kind: RecordKind
    id: str
    """The record's own id, which tells nothing of its content."""
    padding: bytes


class Framed(NamedTuple):
    """A record and the bytes `[start, end)` of the segment that hold its frame."""

    record: Record | Blank
    start: int
    end: int


def encode_header(header: Header) -> bytes:
    """Return a segment's first 54 bytes."""
    fields = (MAGIC, FORMAT, *header)
    return _HEADER.pack(*fields, crc32(_HEADER_CHECKED.pack(*fields)))


def decode_header(data: bytes) -> Header | None:
    """Return the header at the start of `data`, or None where it is damaged or incomplete.

    Raises:
        FormatTooNew: it is intact, and of a later format than ours.
    """
    if len(data) < HEADER_BYTES:
        return None
    magic, version, created_us, writer_id, segment_id, check = _HEADER.unpack_from(data)
    if magic != MAGIC or crc32(data[: _HEADER_CHECKED.size]) != check:
        return None
    if version > FORMAT:
        raise FormatTooNew(
            f"log segment has format {version}, and this Trimtab reads up to {FORMAT}; "
            "run the newer Trimtab that wrote it"
        )
    return Header(created_us, writer_id, segment_id)


class FrameEncoder:
    """Turns records into frames of one segment, in one buffer that it uses again and again."""

    __slots__ = ("_buffer", "_encode_into", "_seed")

    def __init__(self, segment_id: bytes) -> None:
        self._seed = crc32(segment_id)
        self._buffer = bytearray(FRAME_HEAD_BYTES)
        self._encode_into = msgspec.msgpack.Encoder().encode_into

    def encode(self, record: Record) -> bytearray:
        """Return a record's frame; the buffer is valid until the next call. About 1.4 µs for 1 KB.

        Text that UTF-8 cannot hold (lone surrogates) is stored with question marks in its place.

        Raises:
            ValueError, TypeError, OverflowError, RecursionError: the record cannot be encoded; a ValueError
                also where it is over 256 MiB.
        """
        buffer = self._buffer
        try:
            self._encode_into(record, buffer, FRAME_HEAD_BYTES)
        except UnicodeEncodeError:
            self._encode_into(_storable(record), buffer, FRAME_HEAD_BYTES)
        length = len(buffer) - FRAME_HEAD_BYTES
        if length > MAX_PAYLOAD:
            raise ValueError(f"a record of {length} bytes is over the log's limit of {MAX_PAYLOAD}")
        seed = self._seed
        crc = crc32(memoryview(buffer)[FRAME_HEAD_BYTES:], seed)
        check = crc32(_HEAD_CHECKED.pack(MARKER, length, crc), seed)
        _HEAD.pack_into(buffer, 0, MARKER, length, crc, check)
        return buffer


class FrameScanner:
    """Finds the records of one segment, piece by piece, and says what is damaged.

    It holds no bytes: each `feed` is given the segment's bytes from `offset` on. So a writer may take an
    incomplete frame back (its disk was full) and put another in its place while the segment is read.

    Attributes:
        offset: where in the segment the next `feed` starts; all before it is dealt with.
        need: bytes from `offset` on that the next `feed` must see at least, to get any further.
        damaged_bytes: bytes so far that belong to no whole frame and no header, and never will.
        header: what the segment says of itself; None before it was read, and where it is damaged.
    """

    __slots__ = ("_begun", "_decode", "_seed", "damaged_bytes", "header", "need", "offset")

    def __init__(self, segment_id: bytes) -> None:
        """Prepare to scan a segment; its id (from the file's name) counts where the header is damaged."""
        self.offset = 0
        self.need = HEADER_BYTES
        self.damaged_bytes = 0
        self.header: Header | None = None
        self._begun = False
        self._seed = crc32(segment_id)
        self._decode = msgspec.msgpack.Decoder(cast("type[Record | Blank]", Record | Blank)).decode

    def feed(self, data: bytes) -> list[Framed]:
        """Return the whole records in `data`, the segment's bytes from `offset` on; move `offset` past them.

        What is left over is an incomplete frame: more may come, and if none can, it is a torn tail.
        Takes time in proportion to `data`, whatever it holds.

        Raises:
            FormatTooNew: a newer Trimtab wrote the segment; nothing was read.
        """
        at = 0
        if not self._begun:
            if len(data) < HEADER_BYTES:
                return []
            at = self._begin(data)
        found: list[Framed] = []
        while True:
            at = self._skip_to_marker(data, at)
            self.need = FRAME_HEAD_BYTES
            if len(data) - at < self.need:
                break
            head = self._head(data, at)
            if head is not None:
                length, crc = head
                self.need += length
                if len(data) - at < self.need:
                    break
                record = self._payload(memoryview(data)[at + FRAME_HEAD_BYTES : at + self.need], crc)
                if record is not None:
                    found.append(Framed(record, self.offset + at, self.offset + at + self.need))
                    at += self.need
                    continue
            # Looked for inside what this one claims too: bytes may have been lost from its middle.
            self.damaged_bytes += len(MARKER)
            at += len(MARKER)
        self.offset += at
        return found

    def blanked(self, size: int, kind: RecordKind, record_id: str) -> bytes:
        """Return the frame, of `size` bytes, that takes an erased record's place; once the header was read."""
        length = size - FRAME_HEAD_BYTES
        start = b"\x94\xa1x\xa1" + kind.encode() + msgspec.msgpack.encode(record_id)
        padding = length - len(start) - 5
        if padding < 0:
            raise ValueError(f"a frame of {size} bytes is no record of id {record_id!r}")
        payload = start + b"\xc6" + padding.to_bytes(4, "big") + bytes(padding)  # bin 32, whatever its length
        crc = crc32(payload, self._seed)
        head = _HEAD_CHECKED.pack(MARKER, length, crc)
        return head + crc32(head, self._seed).to_bytes(4, "little") + payload

    def record_at(self, data: bytes) -> Record | Blank | None:
        """Return the record of the one frame that `data` holds exactly, or None where it is damaged."""
        head = self._head(data, 0) if len(data) >= FRAME_HEAD_BYTES else None
        if head is None or FRAME_HEAD_BYTES + head[0] != len(data):
            return None
        return self._payload(memoryview(data)[FRAME_HEAD_BYTES:], head[1])

    def _begin(self, data: bytes) -> int:
        """Read the header; return where the frames start, which is 0 where there is no header to trust."""
        self.header = decode_header(data)
        self._begun = True
        if self.header is None:
            return 0
        self._seed = crc32(self.header.segment_id)
        return HEADER_BYTES

    def _skip_to_marker(self, data: bytes, at: int) -> int:
        """Return the first place from `at` on with a marker, or with as much of one as is there."""
        found = data.find(MARKER, at)
        if found < 0:
            held = (n for n in range(len(MARKER) - 1, 0, -1) if data.endswith(MARKER[:n], at))
            found = len(data) - next(held, 0)
        self.damaged_bytes += found - at
        return found

    def _head(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Return the payload's length and CRC from the frame's head at `at`, or None where it is damaged."""
        _, length, crc, check = _HEAD.unpack_from(data, at)
        if length > MAX_PAYLOAD or crc32(data[at : at + _HEAD_CHECKED.size], self._seed) != check:
            return None
        return length, crc

    def _payload(self, payload: memoryview, crc: int) -> Record | Blank | None:
        """Return the record, or None where any of its bytes are wrong."""
        if crc32(payload, self._seed) != crc:
            return None
        try:
            return self._decode(payload)
        except (ValueError, RecursionError):  # intact, and yet no record: msgspec's errors are ValueErrors
            return None


def _storable(value: Any) -> Any:  # noqa: ANN401 - whatever a record may hold
    """Return the value with every text in it made fit for UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, (tuple, list)):
        return tuple(map(_storable, value))
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return type(value)(*map(_storable, msgspec.structs.astuple(value)))
    return value
