"""The pictures of the documentation: each stands where it is named, says what it shows, and is small."""

import re
import struct
import zlib
from pathlib import Path

import pytest
from tools.screenshots.png import shrunk

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.ja.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDER = ROOT / "docs" / "images" / "console"
LARGEST = 80_000
PICTURES = sorted(FOLDER.glob("*.png"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_picture_is_there_and_says_what_it_shows(path):
    for says, target in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", path.read_text()):
        assert len(says) > 10, f"{target} has no text for who cannot see it"
        assert (path.parent / target).is_file(), target


def test_the_guide_shows_every_picture():
    named = set(
        re.findall(r"images/console/([\w-]+\.png)", (ROOT / "docs" / "how-to" / "console.md").read_text())
    )
    assert named == {path.name for path in PICTURES}


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small(path):
    assert path.stat().st_size < LARGEST
    width, _, _, kind = struct.unpack(">IIBB", path.read_bytes()[16:26])
    assert width in (1280, 390)
    assert kind == 3, "it has no palette; take it by `make screenshots`"


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("filters", range(5))
def test_a_picture_of_few_colours_stays_what_it_is(filters):
    """Every filter that a PNG may have on its rows; alpha is dropped."""
    pixels = [[(10 * x % 256, 100 if y % 2 else 7, 255 - 5 * x, 255) for x in range(9)] for y in range(4)]
    raw, above = b"", bytes(36)
    for row in pixels:
        line = bytes(value for pixel in row for value in pixel)
        packed = bytearray()
        for at, value in enumerate(line):
            left, up, corner = (line[at - 4] if at >= 4 else 0), above[at], (above[at - 4] if at >= 4 else 0)
            paeth = min((left, up, corner), key=lambda near: abs(left + up - corner - near))
            packed.append((value - (0, left, up, (left + up) // 2, paeth)[filters]) & 255)
        raw += bytes([filters]) + packed
        above = line
    header = struct.pack(">IIBBBBB", 9, 4, 8, 6, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )
    small = shrunk(png)
    at = small.index(b"PLTE")
    size = struct.unpack(">I", small[at - 4 : at])[0]
    palette = small[at + 4 : at + 4 + size]
    at = small.index(b"IDAT")
    rows = zlib.decompress(small[at + 4 : at + 4 + struct.unpack(">I", small[at - 4 : at])[0]])
    for y, row in enumerate(pixels):
        for x, pixel in enumerate(row):
            index = rows[y * 10 + 1 + x]
            assert tuple(palette[3 * index : 3 * index + 3]) == pixel[:3]


def test_another_kind_of_picture_is_refused():
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    with pytest.raises(ValueError, match="8-bit"):
        shrunk(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
