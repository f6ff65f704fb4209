"""One child process: started, watched over its life line, ended.

The life line is a socket pair. Over it the child is told its options and says when it is ready; when either
end closes, the other knows that its partner is gone, however it died.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from types import MappingProxyType
from typing import Literal, Self

import msgspec

from .options import READY, ChildOptions

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_LONGEST_AFTER_READY_S = 0.5
"""For a child that had become ready: it can work, and callers may be waiting for it."""

_FIRST_PATIENT_S = 30.0
_LONGEST_PATIENT_S = 600.0

_HEALTHY_S = 3.0
"""A child that was ready and lived this long begins anew with the shortest pause."""

_ALLOCATOR = MappingProxyType(
    {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "1048576"}
)
"""For glibc (mallopt(3)): a reply of megabytes is given back to the system whole. By default the first of them makes
the heap itself hold the next ones, and small things between them keep it large. What the user sets is left as it is."""


class Child:
    """A place in the set of processes, and the process that fills it at the moment."""

    def __init__(self, options: ChildOptions, inherited: tuple[int, ...]) -> None:
        self.options = options
        self.ready = False
        self.restarts = 0
        self.failures = 0
        """Deaths in a row without a healthy life between."""
        self.started_at = 0.0
        self.start_at: float | None = 0.0
        """Monotonic time of the next start; None: none is due."""
        self.turn: Literal["", "joining", "leaving"] = ""
        """See `ChildState.turn`."""
        self.leave_by = 0.0
        """Monotonic time past which one that is leaving is ended by force."""
        self._inherited = inherited
        self._longest = _LONGEST_PAUSE_S
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    @property
    def name(self) -> str:
        """Name among its siblings."""
        return self.options.name

    @property
    def pid(self) -> int:
        """The process's id; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, in a process group of its own: a Ctrl-C at the terminal is ours to handle.

        Raises:
            OSError: no process or descriptor can be had.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "trimtab.serve.child", self.name, "--life", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                pass_fds=(theirs.fileno(), *self._inherited),
                process_group=0,
                env=_ALLOCATOR | os.environ,
            )
        options = msgspec.structs.replace(self.options, restarts=self.restarts)
        ours.sendall(msgspec.json.encode(options) + b"\n")
        ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._line = ours
        self.ready = False
        self.started_at = time.monotonic()
        self.start_at = None

    def successor(self, options: ChildOptions) -> Self:
        """Return a child, not started yet, to take over from this one on the same socket."""
        options = msgspec.structs.replace(
            options, listener=self.options.listener, shift=1 - self.options.shift, index=self.options.index
        )
        made = type(self)(options, self._inherited)
        made.turn = "joining"
        return made

    def life_line(self) -> socket.socket | None:
        """Return our end of the life line, to wait on."""
        return self._line

    def hear(self) -> bool:
        """Read what the child said; True if it has just become ready."""
        if self._line is None:
            return False
        said = b""
        with suppress(BlockingIOError, ConnectionError):
            said = self._line.recv(4096)
            if not said:
                self._hang_up()
        if READY.strip() in said and not self.ready:
            self.ready = True
            return True
        return False

    def reap(self) -> int | None:
        """Return the exit status (negative: the signal) if the process has ended since the last look."""
        if self._process is None:
            return None
        status = self._process.poll()
        if status is None:
            return None
        self._process = None
        self._hang_up()
        self._longest = _LONGEST_AFTER_READY_S if self.ready else _LONGEST_PAUSE_S
        healthy = self.ready and time.monotonic() - self.started_at >= _HEALTHY_S
        self.failures = 1 if healthy else self.failures + 1
        self.ready = False
        return status

    def plan_restart(self, *, patient: bool = False) -> float:
        """Make the next start due after a pause, in seconds, that doubles with every failure in a row.

        Args:
            patient: whether the child said that starting it again soon cannot help.
        """
        first, longest = (
            (_FIRST_PATIENT_S, _LONGEST_PATIENT_S) if patient else (_FIRST_PAUSE_S, self._longest)
        )
        pause = min(first * 2.0 ** min(self.failures - 1, 20), longest)
        self.start_at = time.monotonic() + pause
        self.restarts += 1
        return pause

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        """End the process at once."""
        self.signal(signal.SIGKILL)

    def wait(self) -> None:
        """Return once the process is gone; call it after `kill`."""
        if self._process is not None:
            self._process.wait()
            self._process = None
        self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def exit_text(status: int) -> str:
    """Say how a process ended.

    >>> exit_text(-9), exit_text(3)
    ('killed by SIGKILL', 'exit status 3')
    """
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"
