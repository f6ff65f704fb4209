"""The resume file of a batch: answers as they come, one a line, so that nothing is paid for twice.

The first line names the format; each further one holds a prompt's place, the hash of what was sent, and the reply:

    {"trimtab_batch": 1}
    {"index": 7, "hash": "<BLAKE2b, 32 hex digits>", "headers": {...}, "raw": {...}}

A line is one `write`, so it survives `kill -9` of anything. A last line that is cut off was never acknowledged: it is
taken away when the file is next opened. Failures are not written: a prompt without an answer is asked again.
"""

import errno
import fcntl
import os
import stat
import threading
from array import array
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from trimtab.sdk.answer import Answer, build_answer
from trimtab.sdk.errors import MalformedAnswer

FORMAT = 1
_HEADER = msgspec.json.encode({"trimtab_batch": FORMAT}) + b"\n"
_MOST_PROMPTS = 100_000_000
"""Bounds what a damaged number can make us reserve: 8 bytes a prompt."""
_BLOCK = 1 << 20
_ABSENT = -1


class ResumeError(Exception):
    """A resume file cannot be used, or belongs to other prompts."""


class _Line(msgspec.Struct):
    index: int
    hash: str
    headers: dict[str, str]
    raw: msgspec.Raw


class _Place(msgspec.Struct):
    """What of a line is needed to find it again."""

    index: int


class _Header(msgspec.Struct):
    trimtab_batch: int


class ResumeFile:
    """Answers of earlier runs, and those of this one as they come. Eight bytes of memory a prompt.

    Any thread may read and write. One process at a time: the file is locked while it is open.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open or make the file, and find the answers in it; reads all of it once.

        Raises:
            ResumeError: it is no resume file, is damaged, is of a later format, is in use, or cannot be opened.
        """
        self.path = os.fspath(path)
        self._lock = threading.Lock()
        self._fd = _ABSENT
        self._offsets = array("q")
        self._found = 0
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                self._refuse("is no regular file; name another one")
            _lock(self._fd, self.path)
            self._end = self._scan()
            if self._end < os.fstat(self._fd).st_size:
                os.ftruncate(self._fd, self._end)
            if self._end == 0:
                self._write(_HEADER)
        except OSError as error:
            self.close()
            raise ResumeError(f"resume file {self.path!r} cannot be opened: {error.strerror}") from error
        except ResumeError:
            self.close()
            raise

    def __len__(self) -> int:
        """How many prompts have an answer."""
        return self._found

    def check(self, index: int, digest: str) -> bool:
        """Return whether the prompt of that place has its answer here.

        Raises:
            ResumeError: the answer in that place is to another prompt.
        """
        return self._line(index, digest) is not None

    def answer(self, index: int, digest: str) -> Answer | None:
        """Return an earlier answer to the prompt of that place, or None.

        Raises:
            ResumeError: the answer in that place is to another prompt.
        """
        line = self._line(index, digest)
        if line is None:
            return None
        try:
            return build_answer(msgspec.json.decode(line.raw, type=dict[str, Any]), line.headers)
        except (msgspec.MsgspecError, MalformedAnswer) as error:
            raise ResumeError(
                f"resume file {self.path!r}: the answer to prompt {index} is damaged: {error}"
            ) from error

    def record(self, index: int, digest: str, answer: Answer) -> None:
        """Append an answer; after this it survives the death of this process.

        Raises:
            ResumeError: it cannot be written.
        """
        headers = {
            "x-trimtab-call-id": answer.call_id,
            "x-trimtab-model": answer.model,
            "x-trimtab-release": answer.release,
            "x-trimtab-degraded": "true" if answer.degraded else "",
            "x-trimtab-cost-nusd": "" if answer.cost_nusd is None else str(answer.cost_nusd),
        }
        kept = {name: value for name, value in headers.items() if value}
        line = msgspec.json.encode({"index": index, "hash": digest, "headers": kept, "raw": answer.raw})
        with self._lock:
            if self._fd == _ABSENT:
                return  # the batch was left while this call was on its way out
            try:
                at = self._end
                self._write(line + b"\n")
            except OSError as error:
                raise ResumeError(
                    f"resume file {self.path!r} cannot be written: {error.strerror}; mend that, and run the batch again"
                ) from error
            self._place(index, at)

    def close(self) -> None:
        """Release the file and its lock."""
        with self._lock:
            if self._fd != _ABSENT:
                os.close(self._fd)
                self._fd = _ABSENT

    def _line(self, index: int, digest: str) -> _Line | None:
        at = self._offsets[index] if index < len(self._offsets) else _ABSENT
        if at == _ABSENT:
            return None
        data = self._line_at(at)
        try:
            line = msgspec.json.decode(data, type=_Line)
        except msgspec.MsgspecError as error:
            raise ResumeError(f"resume file {self.path!r} is damaged at byte {at}: {error}") from error
        if line.hash != digest:
            raise ResumeError(
                f"resume file {self.path!r} holds the answer to another prompt in place {index}: prompts, model or "
                "parameters have changed since; give the same ones, or another resume file"
            )
        return line

    def _line_at(self, at: int) -> bytes:
        data = b""
        while b"\n" not in data:
            block = os.pread(self._fd, 65_536 if not data else _BLOCK, at + len(data))
            if not block:
                break
            data += block
        return data.partition(b"\n")[0]

    def _scan(self) -> int:
        """Note where each answer stands; return where the last whole line ends."""
        for number, (at, line) in enumerate(self._lines()):
            if number == 0:
                self._check_header(line)
                continue
            try:
                self._place(msgspec.json.decode(line, type=_Place).index, at)
            except msgspec.MsgspecError as error:
                self._refuse(
                    f"is damaged in line {number + 1} ({error}); remove that line to ask its prompt again"
                )
        return self._whole

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield whole lines and where they begin."""
        self._whole = 0
        rest, at = b"", 0
        while block := os.pread(self._fd, _BLOCK, at):
            at += len(block)
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield self._whole, line
                self._whole += len(line) + 1
        if not self._whole and rest and not _HEADER.startswith(rest):
            self._refuse("is none that a batch wrote; name another file")

    def _check_header(self, line: bytes) -> None:
        try:
            found = msgspec.json.decode(line, type=_Header).trimtab_batch
        except msgspec.MsgspecError:
            self._refuse("is none that a batch wrote; name another file")
        if found > FORMAT:
            self._refuse(
                f"has format {found}, and this Trimtab reads up to {FORMAT}; use the newer one that wrote it"
            )

    def _place(self, index: int, at: int) -> None:
        if not 0 <= index < _MOST_PROMPTS:
            self._refuse(f"names prompt {index}, and places go from 0 to {_MOST_PROMPTS - 1}: it is damaged")
        if index >= len(self._offsets):
            self._offsets.extend([_ABSENT] * (index + 1 - len(self._offsets)))
        self._found += self._offsets[index] == _ABSENT
        self._offsets[index] = at

    def _write(self, line: bytes) -> None:
        """Append a line whole, or not at all."""
        written = os.write(self._fd, line)
        if written != len(line):
            os.ftruncate(self._fd, self._end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += written

    def _refuse(self, why: str) -> NoReturn:
        raise ResumeError(f"resume file {self.path!r} {why}")


def _lock(fd: int, path: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ResumeError(
            f"resume file {path!r} is in use by another batch; wait for its end, or name another file"
        ) from error
