"""The control process's stores, each used from a thread of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from trimtab.serve.folder import Layout
from trimtab.storage import AppStore, SnapshotStore, TraceStore

_T = TypeVar("_T")


class Stores:
    """The stores. A connection is no good to two threads at once, and a long search must not delay a sign-in."""

    snapshots: SnapshotStore

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._app_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="app-store")
        self._calls_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="call-store")
        self._app: AppStore
        self._calls: TraceStore

    def __enter__(self) -> "Stores":
        from trimtab.storage.files import open_snapshot_store
        from trimtab.storage.sqlite import open_app_store, open_call_store

        self.snapshots = open_snapshot_store(self._layout.snapshot)
        self._app = self._app_thread.submit(open_app_store, self._layout.app).result()
        self._calls = self._calls_thread.submit(
            lambda: open_call_store(self._layout.calls, read_only=True)
        ).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._calls_thread.submit(self._calls.close).result()
        self._app_thread.submit(self._app.close).result()
        self._calls_thread.shutdown()
        self._app_thread.shutdown()

    async def app(self, work: Callable[[AppStore], _T]) -> _T:
        """Do something with the app store, and the snapshots, on their thread."""
        return await asyncio.get_running_loop().run_in_executor(self._app_thread, work, self._app)

    async def calls(self, work: Callable[[TraceStore], _T]) -> _T:
        """Do something with the store of calls and spans, on its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._calls_thread, work, self._calls)
