"""Overwriting what no row of a database file uses: secure_delete clears what is deleted, but not old copies of it.

When SQLite moves rows between pages, the bytes where they stood stay behind in the unallocated middle of a page until
something else needs the room; a row deleted later leaves such copies. No content depends on these bytes, no checksum
covers them, and readers never look at them. So they are overwritten in the file itself, and a crash half-way does no
harm. Layout: https://sqlite.org/fileformat2.html#b_tree_pages.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import apsw

_HEADER_BYTES = 100
_INTERIOR, _LEAVES = (2, 5), (10, 13)
"""First bytes of b-tree pages. Other pages begin with a page's number, whose first byte is 0 below 64 GB."""

_PIECE_PAGES = 256
_HEAD = struct.Struct(">BHHHB")


def wipe_gaps(path: Path) -> int:
    """Zero all unallocated bytes of a file's pages; return how many pages had any. 1 s a gigabyte.

    No connection that writes may be open on the file, here or elsewhere: it would write its own copies of pages back.
    The write-ahead log must be empty. Nothing is closed behind SQLite's back: it keeps locks
    that closing a descriptor would drop.

    Raises:
        apsw.Error: the file cannot be read or written.
    """
    flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0]
    file = apsw.VFSFile("", str(path), flags)
    try:
        header = file.xRead(_HEADER_BYTES, 0)
        page_bytes = int.from_bytes(header[16:18], "big")
        page_bytes = 65536 if page_bytes == 1 else page_bytes
        usable = page_bytes - header[20]
        size = file.xFileSize()
        wiped = 0
        for start in range(0, size, _PIECE_PAGES * page_bytes):
            piece = file.xRead(min(_PIECE_PAGES * page_bytes, size - start), start)
            for at in range(0, len(piece), page_bytes):
                page = piece[at : at + page_bytes]
                skipped = _HEADER_BYTES if start + at == 0 else 0
                gaps = [gap for gap in _gaps(page, skipped, usable) if page[slice(*gap)].strip(b"\0")]
                for first, end in gaps:
                    file.xWrite(bytes(end - first), start + at + first)
                wiped += bool(gaps)
        file.xSync(apsw.SQLITE_SYNC_FULL)
    finally:
        file.xClose()
    return wiped


def _gaps(page: bytes, skipped: int, usable: int) -> Iterator[tuple[int, int]]:
    """Yield the unallocated ranges of a page; none of one that is no b-tree page."""
    kind, free, cells, content, _ = _HEAD.unpack_from(page, skipped)
    if kind not in _INTERIOR and kind not in _LEAVES:
        return
    first = skipped + (12 if kind in _INTERIOR else 8) + 2 * cells
    end = content or 65536
    if first <= end <= usable:
        yield first, end
    while end <= free <= usable - 4:
        following, size = struct.unpack_from(">HH", page, free)
        if size < 4 or free + size > usable or (following and following <= free):
            return
        yield free + 4, free + size
        free = following
