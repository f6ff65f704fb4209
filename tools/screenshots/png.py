"""PNG files made small: as few colours as a page needs, one byte a pixel (PNG specification, third edition).

Standard library only: a picture of text and lines has some thousand shades, and no more than 96 are missed.
"""

import struct
import zlib
from collections import Counter

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 6: 4}


def shrunk(png: bytes, colours: int = 96) -> bytes:
    """Return a true-colour PNG of 8 bits a channel, not interlaced, with a palette; transparency is dropped.

    About a second for 1280 x 900 pixels.

    Raises:
        ValueError: it is another kind of PNG.
    """
    width, height, rows = _rows(png)
    counts: Counter[bytes] = Counter()
    for row in rows:
        counts.update(row[at : at + 3] for at in range(0, len(row), 3))
    palette, index = _palette(counts, colours)
    lines = [bytes(index[row[at : at + 3]] for at in range(0, len(row), 3)) for row in rows]
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    chunks = ((b"IHDR", header), (b"PLTE", b"".join(palette)), (b"IDAT", data), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def _palette(counts: Counter[bytes], colours: int) -> tuple[list[bytes], dict[bytes, int]]:
    """Return the colours kept, and for every colour the place of the nearest: by use, those too near left out."""
    kept: list[bytes] = []
    for apart in (1500, 400, 60, 0):  # squared distances: first colours that differ much, then finer ones
        for colour, _ in counts.most_common(4000):
            if len(kept) == colours:
                break
            if all(_distance(colour, other) > apart for other in kept):
                kept.append(colour)
    index = {colour: min(range(len(kept)), key=lambda at: _distance(colour, kept[at])) for colour in counts}
    return kept, index


def _distance(one: bytes, other: bytes) -> int:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2 + (one[2] - other[2]) ** 2


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _rows(png: bytes) -> tuple[int, int, list[bytes]]:
    """Return width, height and the rows as RGB, their filters undone (section 9)."""
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    if png[:8] != _SIGNATURE or depth != 8 or kind not in _CHANNELS or interlaced:
        raise ValueError("no PNG of 8-bit RGB or RGBA without interlacing")
    packed, at = b"", 8
    while at < len(png):
        size, name = struct.unpack(">I4s", png[at : at + 8])
        packed += png[at + 8 : at + 8 + size] if name == b"IDAT" else b""
        at += size + 12
    step = _CHANNELS[kind]
    raw, rows, above = zlib.decompress(packed), [], bytearray(width * step)
    for start in range(0, height * (width * step + 1), width * step + 1):
        above = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + width * step]), above, step)
        rows.append(bytes(above) if step == 3 else _without_alpha(above))
    return width, height, rows


def _without_alpha(row: bytearray) -> bytes:
    kept = bytearray(len(row) // 4 * 3)
    for channel in range(3):
        kept[channel::3] = row[channel::4]
    return bytes(kept)


def _unfiltered(kind: int, row: bytearray, above: bytearray, step: int) -> bytearray:
    for at in range(len(row) if kind else 0):
        left = row[at - step] if at >= step else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = above[at]
        elif kind == 3:
            guess = (left + above[at]) // 2
        else:
            guess = _paeth(left, above[at], above[at - step] if at >= step else 0)
        row[at] = (row[at] + guess) & 255
    return row


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    far = (abs(guess - left), abs(guess - up), abs(guess - corner))
    return left if far[0] <= far[1] and far[0] <= far[2] else up if far[1] <= far[2] else corner
