"""All that differs between operating systems, so that nothing else asks which one this is.

Run and tested on Linux. Branches marked UNTESTED are written from the systems' documentation.
"""

import errno
import fcntl
import os
import resource
import socket
import sys

from trimtab.types import ConfigError

_MACOS = sys.platform == "darwin"

_MACOS_OPEN_MAX = 10_240
"""macOS refuses a soft limit over `OPEN_MAX` even where the hard limit is unlimited (man 2 setrlimit)."""


def refuse_unsupported() -> None:
    """Refuse systems without the locks, signals and sockets we build on.

    Raises:
        ConfigError: this is Windows.
    """
    if sys.platform == "win32":  # pragma: no cover - UNTESTED
        raise ConfigError("Trimtab does not run on Windows itself; run it in WSL 2, where all of it works")


def title_process(title: str) -> None:
    """Name this process for `ps` and `top`."""
    # Not on macOS: the library pulls in frameworks there that do not survive in a process of ours. UNTESTED
    if not _MACOS:
        from setproctitle import setproctitle

        setproctitle(title)


def raise_open_files() -> int:
    """Raise the limit of open files as far as allowed; return the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard
    if _MACOS:  # pragma: no cover - UNTESTED
        wanted = _MACOS_OPEN_MAX if hard == resource.RLIM_INFINITY else min(hard, _MACOS_OPEN_MAX)
    if soft == wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):
        return soft
    return wanted


def try_lock(fd: int) -> bool:
    """Take the exclusive lock of an open file without waiting; False where another one holds it.

    `flock` belongs to the open file description: children that inherit the descriptor hold the same lock, and it
    goes when the last of them is gone, however they died.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def is_alive(pid: int) -> bool:
    """Return whether a process of this id is there (perhaps not ours any more)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def port_problem(host: str, port: int) -> str:
    """Return why nothing can listen there, or an empty text where it can.

    Bound without SO_REUSEPORT, which would let a second gateway of the same user share the port unnoticed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Lets the address be taken while old connections of a process now gone are still in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error.strerror or str(error)
    return ""


def has_terminal() -> bool:
    """Return whether this process still has a controlling terminal."""
    try:
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    os.close(fd)
    return True


def new_event_loop_runner() -> str:
    """Return which event loop workers run on: `uvloop`, or `asyncio` where it is not installed."""
    from importlib.util import find_spec

    return "uvloop" if find_spec("uvloop") else "asyncio"
