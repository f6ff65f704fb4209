"""The stores of a folder where nothing runs, for commands that work offline."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trimtab.storage import AppStore, CallStore

from .folder import FolderLock, Layout


@dataclass(frozen=True, slots=True)
class Local:
    """A folder's stores, opened by this process alone."""

    app: AppStore
    calls: CallStore


@contextmanager
def open_local(data_dir: Path, *, ending_s: float = 0.5) -> Iterator[Local]:
    """Lock a data folder, store what its log still holds, and open its stores.

    Args:
        data_dir: the folder; made where it is missing.
        ending_s: how long to wait for processes that are on their way out.

    Raises:
        FolderBusy: Trimtab runs on it; ask its admin API instead (`find_running`).
        StorageError: it cannot be read or written.
    """
    layout = Layout(data_dir.absolute())
    layout.make()
    with FolderLock(layout) as lock:
        lock.acquire(ending_s=ending_s)
        with open_stores(layout) as local:
            yield local


@contextmanager
def open_stores(layout: Layout) -> Iterator[Local]:
    """Store what the log of a folder still holds, and open its stores; the caller holds the folder's lock.

    Raises:
        StorageError: it cannot be read or written.
    """
    from trimtab.ledger import Recorder
    from trimtab.storage.sqlite import open_app_store, open_call_store

    app = open_app_store(layout.app)
    try:
        calls = open_call_store(layout.calls)
        try:
            # After a crash the log may hold calls that no recorder has stored yet.
            with Recorder(layout.log, calls) as recorder:
                recorder.drain()
            yield Local(app, calls)
        finally:
            calls.close()
    finally:
        app.close()
