"""The stores of a folder where nothing runs, for commands that work offline."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.storage import AppStore, Erasure, TraceStore
from trimtab.types import StorageError

from .folder import FolderLock, Layout
from .runfile import find_running

if TYPE_CHECKING:
    from trimtab.ledger import Stored


@dataclass(frozen=True, slots=True)
class Local:
    """A folder's stores, opened by this process alone."""

    app: AppStore
    calls: TraceStore


@contextmanager
def open_reader(data_dir: Path) -> Iterator[TraceStore]:
    """Open the recorded calls of a folder for reading, whether Trimtab runs on it or not.

    Where it runs, calls of the last second may be in the log still.

    Raises:
        FolderBusy: another command works on the folder.
        StorageError: it cannot be read.
    """
    from trimtab.storage.sqlite import open_call_store

    if find_running(data_dir) is None:
        with open_local(data_dir) as local:
            yield local.calls
    else:
        store = open_call_store(Layout(data_dir.absolute()).calls, read_only=True)
        try:
            yield store
        finally:
            store.close()


def erase_local(data_dir: Path, what: Erasure) -> dict[str, Any]:
    """Erase in a folder where nothing runs; return what the admin API would: calls, log_records and backups.

    Raises:
        FolderBusy: Trimtab runs on it; ask its admin API instead.
        StorageError: it cannot be read or written.
        ValueError: neither user nor session is given.
    """
    from trimtab.ledger import erasure_result, request_erasure

    from .data import known_backups

    layout = Layout(data_dir.absolute())
    with open_local(data_dir):
        request_id = request_erasure(layout.log, what)
    with open_local(data_dir):  # its recorder carries the request out
        result = erasure_result(layout.log, request_id)
    if result is None or result.error:
        why = (
            result.error
            if result is not None
            else "it will be, as soon as the folder is opened the next time"
        )
        raise StorageError(f"{data_dir}: the calls are not erased yet: {why}")
    backups = [*known_backups(layout), *result.unreadable]
    return {"calls": result.calls, "log_records": result.log_records, "backups": backups}


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

    from .data import beside_log_and_store

    app = open_app_store(layout.app)
    try:
        calls = open_call_store(layout.calls)
        try:
            # After a crash the log may hold calls that no recorder has stored yet.
            beside = beside_log_and_store(layout)
            with (
                feeding(layout) as stored,
                Recorder(layout.log, calls, stored=stored, beside=beside) as recorder,
            ):
                recorder.drain()
            yield Local(app, calls)
        finally:
            calls.close()
    finally:
        app.close()


@contextmanager
def feeding(layout: Layout) -> "Iterator[Stored | None]":
    """Yield what a `Recorder` of this process tells of what it stores; None where nothing was ever exported.

    Raises:
        OSError: the feed cannot be written.
    """
    if not layout.feed.is_dir():
        yield None
        return
    from trimtab.config import Telemetry
    from trimtab.telemetry import FeedWriter

    feed = FeedWriter(layout.feed, most=Telemetry().backlog)
    try:
        yield feed.add
    finally:
        feed.close()
