"""Small files in `run/`: which processes there are, and how the admin API is reached."""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from trimtab.types import new_id

from . import platform

_PIDS = "pids.json"
_ADMIN = "admin.json"
_TOKEN = "admin.token"  # noqa: S105 - a file's name
_TOKEN_BYTES = 32


class ChildState(msgspec.Struct, frozen=True, kw_only=True):
    """One child as the supervisor sees it."""

    name: str
    pid: int
    """0: not running at the moment."""
    ready: bool
    restarts: int
    since_us: int
    turn: Literal["", "joining", "leaving"] = ""
    """In a rolling restart: about to take over, or finishing its calls after another took over."""


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """The latest rolling restart of the workers."""

    number: int = 0
    """How many there have been since the start; 0: none."""
    under_way: bool = False
    replaced: int = 0
    """Workers that another has taken over from."""
    error: str = ""
    """Why it was given up; the workers that were there go on."""


class Processes(msgspec.Struct, frozen=True, kw_only=True):
    """`run/pids.json`, written by the supervisor at every change."""

    supervisor: int
    gateway: str
    """Base URL."""
    console: str
    children: tuple[ChildState, ...] = ()
    stopping: bool = False
    rollout: Rollout = Rollout()

    def all(self) -> list[int]:
        """Return the pids of all processes, the supervisor's first."""
        return [self.supervisor, *(c.pid for c in self.children if c.pid)]

    def workers(self) -> Iterator[str]:
        """Yield the names of the workers that are alive."""
        for child in self.children:
            if child.name.startswith("worker-") and child.pid and platform.is_alive(child.pid):
                yield child.name


class AdminAddress(msgspec.Struct, frozen=True, kw_only=True):
    """`run/admin.json`, written by the control process once it listens."""

    url: str
    pid: int


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the Trimtab that runs on a folder."""

    url: str
    """Base URL of the admin API."""
    token: str
    """Its bearer token."""
    gateway: str
    """Base URL of the gateway."""


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one step, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{new_id()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_processes(run: Path, processes: Processes) -> None:
    """Write `pids.json`."""
    write_private(run / _PIDS, msgspec.json.encode(processes))


def read_processes(run: Path) -> Processes | None:
    """Return what `pids.json` says; None where there is none, or it is damaged."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((run / _PIDS).read_bytes(), type=Processes)
    return None


def make_token(run: Path) -> str:
    """Return the token of this start, for the admin API and the console; the first asker makes and writes it.

    It outlives the control process, whose death must sign nobody out, and ends with `run/` at the next start.

    Raises:
        OSError: it cannot be written.
    """
    token = read_token(run) or new_token()
    write_token(run, token)
    return token


def new_token() -> str:
    """Return a new token, which stands nowhere yet."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def write_token(run: Path, token: str) -> None:
    """Write the token of this start, where it does not stand there already."""
    if read_token(run) != token:
        write_private(run / _TOKEN, token.encode())


def read_token(run: Path) -> str | None:
    """Return the token of this start; None where there is none, or it is damaged."""
    with suppress(OSError, UnicodeDecodeError):
        token = (run / _TOKEN).read_text("ascii")
        if len(token) == len(secrets.token_urlsafe(_TOKEN_BYTES)):
            return token
    return None


def write_admin(run: Path, url: str) -> None:
    """Say where the admin API listens."""
    write_private(run / _ADMIN, msgspec.json.encode(AdminAddress(url=url, pid=os.getpid())))


def find_running(data_dir: Path) -> Running | None:
    """Return how to reach the Trimtab that runs on a folder, or None where none does (or not yet)."""
    run = data_dir / "run"
    processes = read_processes(run)
    try:
        admin = msgspec.json.decode((run / _ADMIN).read_bytes(), type=AdminAddress)
        token = (run / _TOKEN).read_text("ascii")
    except (OSError, msgspec.DecodeError):
        return None
    # Files outlive a `kill -9`, and pids are used again; the lock is held only while one of them lives.
    if processes is None or not platform.is_locked(data_dir / "lock") or not platform.is_alive(admin.pid):
        return None
    return Running(url=admin.url, token=token, gateway=processes.gateway)
