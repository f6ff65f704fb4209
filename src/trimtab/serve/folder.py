"""The data folder: where things lie in it, and who holds it."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from trimtab.types import FolderBusy, StorageError

from . import platform
from .runfile import Processes, read_processes

_POLL_S = 0.05

_RUNNING_S = 0.5
"""How long to wait for a Trimtab that shows no sign of ending: it may just have been told to."""

_ENDING_S = 60.0
"""How long to wait for one that is ending: it finishes its open calls."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in a data folder."""

    root: Path

    @property
    def run(self) -> Path:
        """Run-time files: of no use once the processes are gone."""
        return self.root / "run"

    @property
    def breakers(self) -> Path:
        """Breaker states that the workers share."""
        return self.run / "breakers"

    @property
    def lock(self) -> Path:
        """Locked by every process that works in the folder."""
        return self.root / "lock"

    @property
    def log(self) -> Path:
        """The append log's segments."""
        return self.root / "log"

    @property
    def app(self) -> Path:
        """What is configured at run time."""
        return self.root / "app.db"

    @property
    def cache(self) -> Path:
        """Replies that may be given again; all of it can be made anew."""
        return self.root / "cache.db"

    @property
    def secret(self) -> Path:
        """The secret that seals providers' keys."""
        return self.root / "secret.key"

    @property
    def calls(self) -> Path:
        """Folder of the day files of calls."""
        return self.root

    @property
    def snapshot(self) -> Path:
        """Folder of the published snapshot."""
        return self.root / "snapshot"

    @property
    def counters(self) -> Path:
        """Folder of the workers' counters; they outlive the processes."""
        return self.root / "counters"

    @property
    def limits(self) -> Path:
        """Folder of the state of limits and budgets, and of their events."""
        return self.root / "limits"

    @property
    def feed(self) -> Path:
        """Ids of what the exporter is to send; there where something is exported."""
        return self.root / "feed"

    def make(self) -> None:
        """Create the folders, closed to other users.

        Raises:
            StorageError: they cannot be made or written to.
        """
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, self.run, self.log, self.snapshot, self.counters):
                folder.mkdir(mode=0o700, exist_ok=True)
            # A folder that existed may be open to others; what stands in it is not for them.
            self.root.chmod(0o700)
        except OSError as error:
            raise StorageError(
                f"the data folder {self.root} cannot be used: {error.strerror}; "
                "choose another with --data, or mend its rights"
            ) from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise StorageError(
                f"the data folder {self.root} cannot be written to; mend its rights, or use --data"
            )


class FolderLock:
    """The lock of a data folder, held while the descriptor is open here or in any child that inherited it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def acquire(
        self, *, ending_s: float = _ENDING_S, say: Callable[[str], None] = lambda _text: None
    ) -> None:
        """Take the lock, waiting for processes that are on their way out.

        Args:
            ending_s: how long to wait for those at most.
            say: told once what is waited for.

        Raises:
            FolderBusy: others keep it; the message names them.
        """
        began = time.monotonic()
        told = False
        while not platform.try_lock(self.fd):
            holders = read_processes(self._layout.run)
            ending = holders is not None and (holders.stopping or not platform.is_alive(holders.supervisor))
            patience_s = ending_s if ending else min(_RUNNING_S, ending_s)
            if time.monotonic() - began >= patience_s:
                raise FolderBusy(busy_text(self._layout.root, holders))
            if ending and not told:
                say(f"waiting for the processes that held {self._layout.root} to finish their open calls")
                told = True
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Let go, as far as this process is concerned."""
        with suppress(OSError):
            os.close(self.fd)


def busy_text(root: Path, holders: Processes | None) -> str:
    """Say who holds a folder, and what to do."""
    alive = [] if holders is None else [p for p in holders.all() if platform.is_alive(p)]
    if holders is None or not alive:
        return (
            f"the data folder {root} is in use by another trimtab command; wait until it ends, "
            "or use another folder with --data"
        )
    if not platform.is_alive(holders.supervisor):
        return (
            f"the data folder {root} is still held by processes whose supervisor is gone, and which finish "
            f"their open calls (pids {_list(alive)}); wait a little, or end them with: "
            f"kill {' '.join(map(str, alive))}"
        )
    return (
        f"trimtab is running already on {root} at {holders.gateway} (pids {_list(alive)}); "
        f"stop it with: kill {holders.supervisor}, or use another folder with --data"
    )


def _list(pids: list[int]) -> str:
    return ", ".join(map(str, pids))


def clean_run(layout: Layout) -> None:
    """Remove what a previous set of processes left in `run/`.

    Call it with the lock held only.
    """
    # All of it, not files by name: whoever was killed while writing left a draft.
    for path in layout.run.iterdir():
        path.unlink(missing_ok=True)
