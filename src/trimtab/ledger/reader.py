"""The append log's reading side: all segments of a folder, each read on from where it was left."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from trimtab.types import Record
from trimtab.types.errors import FormatTooNew

from .frames import Blank, Framed, FrameScanner, RecordKind
from .segment import DAMAGED_SUFFIX, SUFFIX, UNBORN_SUFFIX, is_locked, segment_uuid, writer_of

PIECE_BYTES = 1024 * 1024
"""Read at a time: enough that a read is cheap by the byte, and little enough to hold."""


_UNBORN_US = 60_000_000
"""A minute: far longer than any living writer needs to finish making a segment."""


class SegmentReader:
    """Reads one segment as it grows.

    Attributes:
        path: the segment's file.
        writer_name: its writer's name, which later writers may have too.
        ended: nobody writes to it any more, and nobody will: its writer died, closed it, or moved on.
        at_end: the last `read` saw the file's end.
        too_new: why the segment cannot be read by this Trimtab; empty where it can.
        faulty: it holds a record that could not be stored, or bytes that are no record: keep the file.
        open_calls: ids of calls whose opening was read here and which are not stored yet.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            OSError: it cannot be opened.
        """
        self.path = path
        self.writer_name = writer_of(path.stem)
        self.ended = False
        self.at_end = False
        self.too_new = ""
        self.faulty = False
        self.open_calls: set[str] = set()
        uuid = segment_uuid(path.stem)
        self._name_id = uuid.bytes if uuid is not None else b""
        self._scanner = FrameScanner(self._name_id)
        self._seen_bytes = -1
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def writer(self) -> bytes:
        """Return who writes it: one value a writer's life; a value of its own where the header is damaged."""
        header = self._scanner.header
        return header.writer_id if header is not None else b"?" + self.path.name.encode()

    @property
    def damaged_bytes(self) -> int:
        """Return how many bytes so far are no record and never will be."""
        return self._scanner.damaged_bytes

    @property
    def torn_bytes(self) -> int:
        """Return how long the incomplete record at the end of an ended segment is, once `at_end`."""
        return self._seen_bytes - self._scanner.offset if self.ended and self.at_end else 0

    @property
    def offset(self) -> int:
        """Return how far the segment is read, in bytes."""
        return self._scanner.offset

    def probe(self) -> bool:
        """Look whether the segment has ended; what is read after a True is all there will be."""
        if not self.ended and not is_locked(self._fd):
            self.ended = True
            self.at_end = False
        return self.ended

    def read(self) -> list[Framed]:
        """Return the next records, out of at most a piece (1 MiB, or one larger record); none at the end.

        Sets `at_end`, or `too_new`, which ends reading for good.

        Raises:
            OSError: the disk fails.
        """
        if self.too_new:
            self.at_end = True
            return []
        start = self._scanner.offset
        size = os.fstat(self._fd).st_size
        # Bytes of an incomplete record are looked at again while the writer lives: it may have replaced them.
        if self.at_end and size == self._seen_bytes and (self.ended or size == start):
            return []
        asked = max(PIECE_BYTES, self._scanner.need)
        data = os.pread(self._fd, min(asked, max(size - start, 0)), start)
        self._seen_bytes = start + len(data)
        try:
            found = self._scanner.feed(data)
        except FormatTooNew as error:
            self.too_new, self.at_end = error.message, True
            return []
        self.at_end = self._seen_bytes >= size
        return found

    def blanked(self, size: int, kind: RecordKind, record_id: str) -> bytes:
        """Return the frame that takes an erased record's place; after the first `read`."""
        return self._scanner.blanked(size, kind, record_id)

    def reread(self, frame: tuple[int, int]) -> Record | Blank | None:
        """Return the record of a frame that was found before, or None where the disk no longer has it."""
        start, end = frame
        try:
            return self._scanner.record_at(os.pread(self._fd, end - start, start))
        except OSError:
            return None

    def remove(self) -> None:
        """Delete the file, or put it aside as `*.damaged` where it is faulty or has damaged bytes."""
        with suppress(FileNotFoundError):  # somebody deleted it by hand
            if self.faulty or self.damaged_bytes:
                self.path.rename(self.path.with_suffix(DAMAGED_SUFFIX))
            else:
                self.path.unlink()
        self.close()

    def close(self) -> None:
        """Release the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LogReader:
    """All segments of a folder, oldest first.

    Attributes:
        segments: those in sight and not removed, by name.
        problems: file name → what the operating system said; such a file is tried again at each `refresh`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments: dict[str, SegmentReader] = {}
        self.problems: dict[str, str] = {}

    def refresh(self) -> None:
        """See which segments have ended, and which are new.

        A segment whose file was deleted meanwhile stays: its bytes are there for as long as it is open.
        In this order: a writer makes its next segment before it lets go of the last one. So if all
        segments of a writer that are in sight after this have ended, the writer is dead.
        """
        for segment in self.segments.values():
            segment.probe()
        try:
            names = {entry.name for entry in os.scandir(self.folder) if entry.name.endswith(SUFFIX)}
        except FileNotFoundError:
            names = set()
        self.problems = {}
        for name in sorted(names - self.segments.keys(), key=_age_key):
            try:
                self.segments[name] = SegmentReader(self.folder / name)
            except OSError as error:
                self.problems[name] = str(error)

    def writer_is_done(self, segment: SegmentReader) -> bool:
        """Tell whether this segment's writer is dead and everything it ever wrote was read.

        A segment that was not begun yet might be the writer's too, so then the answer is no.
        """
        return all(
            (other.ended and other.at_end)
            if other.writer == segment.writer
            else (other.offset or other.at_end)
            for other in self.segments.values()
        )

    def remove_unborn(self, now_us: int) -> None:
        """Delete what writers left that died in the microseconds between making a segment and naming it."""
        for path in self.folder.glob(f"*{UNBORN_SUFFIX}"):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                if not is_locked(fd) and os.fstat(fd).st_mtime * 1e6 < now_us - _UNBORN_US:
                    path.unlink(missing_ok=True)
            finally:
                os.close(fd)

    def remove(self, segment: SegmentReader) -> None:
        """Remove a segment that is done with."""
        segment.remove()
        del self.segments[segment.path.name]

    def close(self) -> None:
        """Release all files."""
        for segment in self.segments.values():
            segment.close()
        self.segments.clear()


def _age_key(name: str) -> tuple[UUID, str]:
    return segment_uuid(Path(name).stem) or UUID(int=0), name
