"""The feed: ids of calls and spans in the order they were stored; what the exporter follows.

Format 1: files `feed-SEQUENCE.ids` in a folder, SEQUENCE being the 20-digit number of the first entry; each entry
has 25 bytes: a kind (`c` a call, `u` a call stored unfinished, `s` a span), 16 bytes of call id or trace id, 8 bytes
of span id or zeros. It holds no words: what is erased from the store is out of the exporter's reach at once.

The recorder writes an entry after the store has the row and before the log loses it, so a crash between the two has
the row read, and fed, again: `add` tells those it has from those it lacks.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from trimtab.types import Call, SpanEnded

ENTRY_BYTES: Final = 25
FILE_ENTRIES: Final = 65_536
_WAITING: Final = 100_000
"""Entries that wait in memory at most while the disk takes none."""

_RECENT_FILES: Final = 3
"""Files that a row read again is looked for in: 131,072 rows at least."""


class Entry(NamedTuple):
    """One stored row."""

    kind: str
    id: str
    """A call's id (UUID with hyphens), or a span's `trace_id-span_id`."""


class FeedWriter:
    """Appends to the feed; one a folder, in the recorder."""

    def __init__(self, folder: Path, *, most: int) -> None:
        """Open the feed.

        Args:
            folder: made where it is missing.
            most: entries kept at least; beyond that the oldest files go, read or not.

        Raises:
            OSError: it cannot be made or written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._most = most
        self._fd = -1
        self._left = 0
        self._waiting: list[bytes] = []
        self.lost = 0
        """Entries given up since there was no way to write them."""
        self.error = ""
        """Why the last try to write failed; empty where it did not."""
        files = feed_files(folder)
        self._next = 0
        if files:
            first, path = files[-1]
            whole = path.stat().st_size // ENTRY_BYTES
            os.truncate(path, whole * ENTRY_BYTES)  # an entry that its writer died over
            self._next = first + whole

    @property
    def next(self) -> int:
        """Number of the next entry."""
        return self._next

    def add(self, rows: Sequence[Call] | Sequence[SpanEnded], new: int) -> None:
        """Append rows that the store has now.

        What cannot be written waits in memory for the next time, and never holds up who calls: see `error`.

        Args:
            rows: as they were handed to the store.
            new: how many of them it did not have before.
        """
        entries = [_entry(row) for row in rows]
        try:
            if new < len(entries):
                known = self._recent() | set(self._waiting)
                entries = [entry for entry in entries if entry not in known]
            self._waiting += entries
            self._write()
            self.error = ""
        except OSError as error:
            self.error = f"{self._folder}: {error.strerror or error}"
            surplus = len(self._waiting) - _WAITING
            if surplus > 0:
                del self._waiting[:surplus]
                self.lost += surplus

    def _write(self) -> None:
        while self._waiting:
            if self._left <= 0:
                self._roll()
            data = b"".join(self._waiting[: self._left])
            wrote = os.write(self._fd, data)
            whole = wrote // ENTRY_BYTES
            if wrote % ENTRY_BYTES:  # a full disk takes as much as there is room for
                os.ftruncate(self._fd, self._in_file() + whole * ENTRY_BYTES)
            del self._waiting[:whole]
            self._next += whole
            self._left -= whole

    def close(self) -> None:
        """Release the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _in_file(self) -> int:
        return (FILE_ENTRIES - self._left) * ENTRY_BYTES

    def _roll(self) -> None:
        """Go on in the last file, or in a new one; drop what is too old."""
        self.close()
        files = feed_files(self._folder)
        first = self._next
        if files and self._next - files[-1][0] < FILE_ENTRIES:
            first = files[-1][0]
        path = self._folder / f"feed-{first:020d}.ids"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._left = FILE_ENTRIES - (self._next - first)
        for start, old in files:
            if start + FILE_ENTRIES <= self._next - self._most:
                old.unlink(missing_ok=True)

    def _recent(self) -> frozenset[bytes]:
        known: set[bytes] = set()
        for _, path in feed_files(self._folder)[-_RECENT_FILES:]:
            data = path.read_bytes()
            known.update(
                data[at : at + ENTRY_BYTES] for at in range(0, len(data) - ENTRY_BYTES + 1, ENTRY_BYTES)
            )
        return frozenset(known)


class FeedReader:
    """Reads the feed from any place; in the exporter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def bounds(self) -> tuple[int, int]:
        """Return the numbers of the first entry there is and of the next there will be."""
        files = feed_files(self._folder)
        if not files:
            return 0, 0
        first, path = files[-1]
        try:
            return files[0][0], first + path.stat().st_size // ENTRY_BYTES
        except FileNotFoundError:
            return self.bounds()

    def read(self, start: int, limit: int) -> list[Entry]:
        """Return up to `limit` entries from `start` on, which lies within `bounds`; out of one file."""
        for first, path in reversed(feed_files(self._folder)):
            if first <= start:
                try:
                    with path.open("rb") as file:
                        file.seek((start - first) * ENTRY_BYTES)
                        data = file.read(limit * ENTRY_BYTES)
                except FileNotFoundError:
                    return []  # dropped meanwhile: `bounds` says so at the next look
                return [
                    _decoded(data[at : at + ENTRY_BYTES])
                    for at in range(0, len(data) - ENTRY_BYTES + 1, ENTRY_BYTES)
                ]
        return []

    def forget(self, before: int) -> None:
        """Remove files whose every entry is before a number; the last one stays, for it knows the next number."""
        for first, path in feed_files(self._folder)[:-1]:
            if first + FILE_ENTRIES <= before:
                path.unlink(missing_ok=True)


def feed_files(folder: Path) -> list[tuple[int, Path]]:
    """Return (first entry, file) of a feed, in order."""
    found = ((path.name[5:-4], path) for path in folder.glob("feed-*.ids"))
    return sorted((int(digits), path) for digits, path in found if digits.isdigit())


def _entry(row: Call | SpanEnded) -> bytes:
    if isinstance(row, SpanEnded):
        return b"s" + bytes.fromhex(row.trace_id) + bytes.fromhex(row.span_id)
    kind = b"u" if row.closed is None else b"c"
    return kind + bytes.fromhex(row.id.replace("-", "")) + bytes(8)


def _decoded(entry: bytes) -> Entry:
    kind, first = chr(entry[0]), entry[1:17].hex()
    if kind == "s":
        return Entry(kind, f"{first}-{entry[17:].hex()}")
    return Entry(kind, "-".join((first[:8], first[8:12], first[12:16], first[16:20], first[20:])))


def ids_of(entries: Iterable[Entry], kind: str) -> list[str]:
    """Return the ids of one kind, `c` (finished or not) or `s`, each once, in order."""
    wanted = ("s",) if kind == "s" else ("c", "u")
    return list(dict.fromkeys(entry.id for entry in entries if entry.kind in wanted))
