"""The append log's writing side: one writer, one open segment, one `write` a record."""

import os
import threading
from pathlib import Path
from typing import Literal, NoReturn
from uuid import UUID

from trimtab.types import Clock, Record, SystemClock, new_id
from trimtab.types.errors import ConfigError, LedgerUnavailable

from .frames import HEADER_BYTES, FrameEncoder
from .segment import create_segment, is_writer_name
from .sync import GroupSync, sync_file

Durability = Literal["process", "power"]
"""What a record that was acknowledged survives: the death of any process, or a power cut too."""

SEGMENT_BYTES = 64 * 1024 * 1024
"""Where a segment ends and the next begins: small enough that disk space comes back soon under load."""


class LogWriter:
    """Appends records to segments of its own in the log's folder; any thread may append.

    Each segment is locked for as long as it is written to. The kernel frees the lock when the process dies,
    by whatever cause, and that is how a recorder knows that an open call will never be closed.
    """

    def __init__(
        self,
        folder: Path,
        writer_name: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        durability: Durability = "process",
        clock: Clock | None = None,
    ) -> None:
        """Open the first segment.

        A disk that refuses is no error yet: `failure` says so, and every `append` tries again.

        Args:
            folder: made, with mode 0700, where it is missing.
            writer_name: names the process in the segments' names, such as `worker-1`; need not be unique.
            segment_bytes: the record that crosses this size is the segment's last.
            durability: see `Durability`.
            clock: dates the segments.

        Raises:
            ConfigError: the name cannot stand in a file's name.
        """
        if not is_writer_name(writer_name):
            raise ConfigError(
                f"writer name {writer_name!r} must be 1 to 64 letters, digits, '.', '-' or '_', "
                "the first of them a letter or digit"
            )
        self.failure = ""
        """Why the last append failed; empty while appends succeed."""
        self._folder = folder
        self._name = writer_name
        self._segment_bytes = segment_bytes
        self._clock = clock or SystemClock()
        self._writer_id = UUID(new_id()).bytes
        self._lock = threading.Lock()
        self._fd = -1
        self._size = segment_bytes
        self._closed = False
        self._last_ms = 0
        self._retired: list[int] = []
        self._folder_changed = False
        self._group = GroupSync(self._sync) if durability == "power" else None
        try:
            self._open_segment()
        except OSError as error:
            self.failure = str(error)

    @property
    def waits(self) -> bool:
        """Tell whether `append_durable` waits for the disk itself (`durability="power"`)."""
        return self._group is not None

    def append(self, record: Record) -> None:
        """Write one record: after this it survives the death of this process. One system call, about 3 µs.

        Raises:
            LedgerUnavailable: it is not in the log, and no part of it is. The next append starts afresh.
        """
        with self._lock:
            if self._size >= self._segment_bytes:
                self._roll()
            try:
                frame = self._encode(record)
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                raise LedgerUnavailable(f"record of call {record.id!r} cannot be encoded: {error}") from error
            try:
                written = os.write(self._fd, frame)
            except OSError as error:
                self._take_back(str(error), error)
            if written != len(frame):
                self._take_back(f"only {written} of {len(frame)} bytes fitted")
            self._size += written
            if self.failure:
                self.failure = ""

    async def append_durable(self, record: Record) -> None:
        """Write one record and return once it survives what `durability` names.

        With `power` that is one `fdatasync` in a thread, shared by all who wait for it: 0.1 to 20 ms by disk.
        With `process` it is `append`.

        Raises:
            LedgerUnavailable: the record is not in the log, or the disk failed to confirm it.
        """
        self.append(record)
        if self._group is not None:
            await self._group.wait()

    def close(self) -> None:
        """Confirm what waits for the disk, and free the lock: from here on this writer counts as dead."""
        if self._group is not None:
            self._group.close()
        with self._lock:
            self._closed = True
            self._size = self._segment_bytes
            self._retire()
            self._close_retired()

    def _roll(self) -> None:
        """Start the next segment; where that fails and one is open, that one just goes on growing."""
        if self._closed:
            raise LedgerUnavailable("the append log is closed: this process is shutting down")
        try:
            self._open_segment()
        except OSError as error:
            if self._fd < 0:
                self._refuse(str(error), error)

    def _open_segment(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Ids of one writer's segments rise even where the clock steps back: they are read in that order.
        ms = max(self._clock.now_us() // 1000, self._last_ms + 1)
        made = create_segment(self._folder, self._name, self._writer_id, ms * 1000)
        # Only now may the old one be let go: at every moment one of a living writer's segments is locked.
        self._retire()
        self._fd, self._size, self._last_ms = made.fd, HEADER_BYTES, ms
        self._encode = FrameEncoder(made.segment_id).encode
        self._folder_changed = True

    def _retire(self) -> None:
        if self._fd < 0:
            return
        self._retired.append(self._fd)
        self._fd = -1
        if self._group is None:
            self._close_retired()

    def _close_retired(self) -> None:
        while self._retired:
            os.close(self._retired.pop())

    def _take_back(self, reason: str, cause: OSError | None = None) -> NoReturn:
        """Remove what was written of a failed record, then refuse it."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            # What follows a torn frame would look like damage: leave this segment, torn, and start another.
            self._size = self._segment_bytes
            self._retire()
        self._refuse(reason, cause)

    def _refuse(self, reason: str, cause: OSError | None = None) -> NoReturn:
        self.failure = reason
        raise LedgerUnavailable(
            f"the append log in {str(self._folder)!r} cannot be written ({reason}); "
            "free space on its disk, or mend it: writing resumes by itself"
        ) from cause

    def _sync(self) -> None:
        """Make all that was appended so far survive a power cut; runs in the group's thread."""
        with self._lock:
            retired, self._retired = self._retired, []
            current = [self._fd] if self._fd >= 0 else []
            folder_changed, self._folder_changed = self._folder_changed, False
        try:
            for fd in retired + current:
                sync_file(fd)
            if folder_changed:
                self._sync_folder()
        except OSError as error:
            # After a failed fsync the kernel may count lost pages as clean: trust only a new file.
            with self._lock:
                self._size = self._segment_bytes
                if self._fd >= 0:
                    os.close(self._fd)
                    self._fd = -1
            raise LedgerUnavailable(
                f"the disk did not confirm the append log in {str(self._folder)!r} ({error}); check the disk"
            ) from error
        finally:
            for fd in retired:
                os.close(fd)

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
