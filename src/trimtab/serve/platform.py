"""All that differs between operating systems, so that nothing else asks which one this is.

Run and tested on Linux. Branches marked UNTESTED are written from the systems' documentation.
"""

import contextlib
import errno
import fcntl
import os
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from trimtab.types import ConfigError

_MACOS = sys.platform == "darwin"

_MACOS_OPEN_MAX = 10_240
"""macOS refuses a soft limit over `OPEN_MAX` even where the hard limit is unlimited (man 2 setrlimit)."""

_BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel caps it (net.core.somaxconn)."""

_UNSENT_BYTES = 32 * 1024
"""Bytes that the kernel takes for a client before it has sent the ones before them.

Left to itself it takes megabytes, and an answer is read from its provider that far ahead of a slow reader, in
memory all the way. What is on the way to the client is not counted, so that a long line stays full.
"""


def refuse_unsupported(system: str = sys.platform) -> None:
    """Refuse systems without the locks, signals and sockets we build on.

    Raises:
        ConfigError: this is Windows.
    """
    if system in ("win32", "cygwin"):
        raise ConfigError("Trimtab does not run on Windows itself; run it in WSL 2, where all of it works")


def title_process(title: str) -> None:
    """Name this process for `ps` and `top`."""
    if not _MACOS:  # There the library pulls in frameworks that a server process should not hold. UNTESTED
        from setproctitle import setproctitle

        setproctitle(title)


def raise_open_files() -> int:
    """Raise the limit of open files as far as allowed; return the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard
    if _MACOS:  # pragma: no cover - UNTESTED
        wanted = _MACOS_OPEN_MAX if hard == resource.RLIM_INFINITY else min(hard, _MACOS_OPEN_MAX)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):
        return soft
    return wanted


def try_lock(fd: int) -> bool:
    """Take the exclusive lock of an open file without waiting; False where another one holds it.

    `flock` belongs to the open file description: children that inherit the descriptor hold the same lock, and
    it goes when the last of them is gone, however they died.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep a folder locked, for `is_locked`; where its file system knows no locks of folders, nothing is held."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def is_locked(path: Path) -> bool:
    """Return whether some process holds the exclusive lock of a file or folder, or that cannot be found out."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def is_alive(pid: int) -> bool:
    """Return whether a process of this id runs (perhaps not ours any more)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # In a container without an init, a process that has ended stays listed until its parent asks for its
    # status.
    with contextlib.suppress(OSError):
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    return True


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` listening sockets on one port, one for each process that is to accept there.

    Linux spreads new connections over sockets that share a port (SO_REUSEPORT). macOS gives all of them to
    one, so there all processes share a single socket.

    Raises:
        OSError: something else listens there, the port is not allowed, or the host is not of this machine.
    """
    if count == 1:
        return [_listen(host, port, shared=False)]
    if _MACOS:  # pragma: no cover - UNTESTED
        first = _listen(host, port, shared=False)
        return [first, *(first.dup() for _ in range(count - 1))]
    # A shared port could be shared with another gateway of the same user, unnoticed: so ask for it alone
    # first.
    with _listen(host, port, shared=False) as probe:
        port = probe.getsockname()[1]
    return [_listen(host, port, shared=True) for _ in range(count)]


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # Lets the port be taken while old connections of a process now gone are still in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Connections inherit it from the socket that they are accepted on.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError:
        listener.close()
        raise
    return listener


def has_terminal() -> bool:
    """Return whether this process still has a controlling terminal."""
    try:
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    os.close(fd)
    return True
