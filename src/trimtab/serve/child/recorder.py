"""The recorder process: moves calls from the append log into the store."""

from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.serve.options import EXIT_OK, ChildOptions
from trimtab.storage import SnapshotStore
from trimtab.types import Policy, StorageError, TrimtabError

from .life import LifeLine, stop_on_sigterm

if TYPE_CHECKING:
    from trimtab.ledger import Progress

_EMPTY_S = 50.0
"""How long the last emptying of the log may take; what is left is stored at the next start."""


class Published:
    """The policy that is published at the moment; the last good one where it cannot be read."""

    def __init__(self, snapshots: SnapshotStore) -> None:
        self._snapshots = snapshots
        self._generation = 0
        self._policy = Policy()

    def __call__(self) -> Policy:
        """Return it: one stat, and a load where it has changed."""
        try:
            generation = self._snapshots.generation()
            if generation != self._generation:
                self._policy = self._snapshots.load().policy
                self._generation = generation
        except TrimtabError as error:
            log.error("how long calls are kept cannot be read, what held before still does: %s", error)
        return self._policy


def _follow_the_days(layout: Layout, progress: "Progress") -> None:
    """Say that calls were too old, and let no reply outlive them."""
    from trimtab.serve.data import drop_replies

    log.info(
        "too old or too much to keep: %d day files and %d calls removed",
        progress.dropped_files,
        progress.expired,
    )
    try:
        drop_replies(layout)
    except StorageError as error:
        log.error("kept replies of calls that are too old stay until the next day ends: %s", error)


def run_recorder(options: ChildOptions, line: LifeLine) -> int:
    """Record until SIGTERM, then empty the log; return the exit status."""
    from trimtab.ledger import Pause, Recorder
    from trimtab.serve.data import beside_log_and_store
    from trimtab.storage.files import open_snapshot_store
    from trimtab.storage.sqlite import open_call_store

    from .noted import Noted

    stop = stop_on_sigterm()
    layout = Layout(Path(options.data_dir))
    store = open_call_store(layout.calls)
    telemetry = options.telemetry
    noted = Noted.open(layout, store, backlog=telemetry.backlog if telemetry.sinks else None)
    said = ""
    unplaced = 0
    too_new: tuple[str, ...] = ()

    def report(progress: "Progress") -> None:
        nonlocal said, unplaced, too_new
        if progress.too_new != too_new:
            too_new = progress.too_new
            if too_new:
                log.error(
                    "a newer Trimtab wrote %s: its calls wait there until you install that version again",
                    ", ".join(too_new),
                )
        if progress.unplaced > unplaced:
            unplaced = progress.unplaced
            log.warning("feedback left out, for the call that it names is not recorded: %d so far", unplaced)
        if progress.error and progress.error != said:
            log.error("calls wait in the log, none is lost: %s", progress.error)
        elif said and not progress.error:
            log.info("calls are stored again")
        said = progress.error
        noted.look(progress)
        if progress.dropped_files or progress.expired:
            _follow_the_days(layout, progress)

    try:
        policy = Published(open_snapshot_store(layout.snapshot))
        beside = beside_log_and_store(layout)
        with Recorder(layout.log, store, policy=policy, stored=noted, beside=beside) as recorder:
            report(recorder.step())
            line.ready()
            pause = Pause()
            while not stop.is_set():
                progress = recorder.step()
                report(progress)
                stop.wait(pause.after(progress))
            report(recorder.drain(_EMPTY_S))
    finally:
        store.close()
        noted.close()
    return EXIT_OK
