"""What the kernel knows of a process: CPU time, memory, descendants, cores. Linux only."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def cpu_ns(pid: int) -> int:
    """CPU time of all living threads of a process, in ns, from their schedstat."""
    total = 0
    for task in (PROC / str(pid) / "task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:  # a thread that ended between the listing and the reading
            continue
    return total


def process_cpu_ns(pid: int) -> int:
    """CPU time of a process in ns, threads that have ended included; 0 where it is gone."""
    clock = ~pid << 3 | 2  # CPUCLOCK_SCHED of that process: linux/posix-timers.h
    try:
        return time.clock_gettime_ns(clock)
    except OSError:
        return 0


def tree(root: int) -> list[int]:
    """A process and all its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop(0)
        found.append(pid)
        todo.extend(sorted(children.get(pid, [])))
    return found


def title(pid: int) -> str:
    """A process's command line, or the title it gave itself."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ")
        return words.decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one process, in MB (10^6 bytes)."""

    now_mb: float
    peak_mb: float


def memory(pid: int) -> Memory:
    """Read VmRSS and VmHWM."""
    values = {}
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            values[name] = int(rest.split()[0]) * 1024 / 1e6
    return Memory(now_mb=values["VmRSS"], peak_mb=values["VmHWM"])


def pin(pid: int, cores: set[int]) -> None:
    """Bind every thread of a process; those it starts later inherit it."""
    for task in (PROC / str(pid) / "task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), cores)
        except ProcessLookupError:
            continue


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """What is started inside runs on these cores, and so do we meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores do what.

    Load and upstream on one, the process under test on another, its companions on a third; on a machine of
    two cores the companions stand beside the load.
    """

    load: frozenset[int]
    worker: frozenset[int]
    rest: frozenset[int]

    @staticmethod
    def of_this_machine() -> "Cores":
        """Split what we may use."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise SystemExit("The bench needs two cores: one for the load, one for what is measured.")
        rest = usable[2:3] or usable[:1]
        return Cores(frozenset(usable[:1]), frozenset(usable[1:2]), frozenset(rest))
