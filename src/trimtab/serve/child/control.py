"""The control process: owns `app.db`, publishes the snapshot, and answers the admin API."""

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trimtab.api import Published, make_api
from trimtab.config import Config, load_config
from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.serve.options import EXIT_OK, ChildOptions, is_loopback, url_of
from trimtab.serve.publish import declared, with_store
from trimtab.serve.runfile import make_token, read_processes, write_admin
from trimtab.storage import AppStore, CallQuery, CallStore, SnapshotStore
from trimtab.types import (
    Call,
    CallerError,
    ConfigError,
    KeySpec,
    NotFound,
    Project,
    Snapshot,
    TrimtabError,
)

from .check import check_payload, check_snapshot
from .life import LifeLine
from .server import run_async, serve

_T = TypeVar("_T")

_OBEY_S = 5.0
"""How long a change waits for the workers before it says who is late."""

_LOOK_S = 0.02
_END_S = 2.0

_NEEDS_RESTART = ("gateway", "console", "own")
"""Sections whose settings belong to processes, not to the snapshot."""


def run_control(options: ChildOptions, line: LifeLine) -> int:
    """Publish and answer until SIGTERM; return the exit status."""
    return run_async(lambda: _work(options, line))


async def _work(options: ChildOptions, line: LifeLine) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    layout = Layout(Path(options.data_dir))
    with Stores(layout) as stores:
        room = ControlRoom(options, layout, stores)
        await room.publish_first()
        token = make_token(layout.run)
        api = make_api(room, token, bound_to_loopback=is_loopback(options.console.host))
        async with asyncio.TaskGroup() as tasks:
            reloads = asyncio.Event()
            loop.add_signal_handler(signal.SIGHUP, reloads.set)
            reloading = tasks.create_task(_reload_on_signal(room, reloads))
            write_admin(layout.run, url_of(options.console.host, options.console.port))
            line.ready()
            try:
                async with asyncio.timeout(None) as limit:
                    serving = tasks.create_task(serve(api, options.listener, options.gateway, stop))
                    await stop.wait()
                    limit.reschedule(loop.time() + _END_S)
                    await serving
            except TimeoutError:
                log.warning("admin requests still open after %g s are cut", _END_S)
            reloading.cancel()
    return EXIT_OK


async def _reload_on_signal(room: "ControlRoom", asked: asyncio.Event) -> None:
    while True:
        await asked.wait()
        asked.clear()
        # A plugin's factory may raise anything, and a reload that fails must not end this process.
        [published] = await asyncio.gather(room.reload(), return_exceptions=True)
        if isinstance(published, TrimtabError):
            log.error("the configuration is refused, what was in force stays: %s", published)
        elif isinstance(published, BaseException):
            log.error("the configuration cannot be used, what was in force stays", exc_info=published)
        else:
            for note in published.notes:
                log.warning("%s", note)
            log.info("generation %d is published", published.generation)


class Stores:
    """The stores, all used from one thread of their own: their connections are no good to two at once."""

    app: AppStore
    calls: CallStore

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stores")
        self.snapshots: SnapshotStore

    def __enter__(self) -> "Stores":
        from trimtab.storage.files import open_snapshot_store
        from trimtab.storage.sqlite import open_app_store, open_call_store

        def open_all() -> None:
            self.app = open_app_store(self._layout.app)
            self.calls = open_call_store(self._layout.calls, read_only=True)

        self.snapshots = open_snapshot_store(self._layout.snapshot)
        self._thread.submit(open_all).result()
        return self

    def __exit__(self, *_: object) -> None:
        def close_all() -> None:
            self.calls.close()
            self.app.close()

        self._thread.submit(close_all).result()
        self._thread.shutdown()

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do something with the stores, on their thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class ControlRoom:
    """What the admin API asks (`api.Control`). Changes happen one after the other."""

    def __init__(self, options: ChildOptions, layout: Layout, stores: Stores) -> None:
        self._options = options
        self._layout = layout
        self._stores = stores
        self._base = Snapshot(generation=0)
        """What file and environment declare."""
        self._first: Config | None = None
        """What the file said when this process started."""
        self._changing = asyncio.Lock()

    async def publish_first(self) -> None:
        """Publish once at the start, so that workers have something to obey.

        Raises:
            ConfigError: the configuration cannot be used, and nothing older is there to go on with.
        """
        try:
            self._base = await self._declared(self._load())
        except ConfigError as error:
            if not self._options.restarts:
                raise
            # The workers serve what was published before; so do we, until the file is mended.
            log.error("the configuration is refused, what was in force stays: %s", error)
            self._base = await self._stores.run(self._stores.snapshots.load)
        await self._publish()

    async def reload(self) -> Published:
        """See `api.Control.reload`."""
        async with self._changing:
            config = self._load()
            self._base = await self._declared(config)
            generation = await self._publish()
        published = await self._wait_for(generation)
        return msgspec.structs.replace(published, notes=self._restart_notes(config))

    async def health(self) -> dict[str, Any]:
        """See `api.Control.health`."""
        processes = read_processes(self._layout.run)
        children = () if processes is None else processes.children
        reports = dict(self._stores.snapshots.reports())
        generation = self._stores.snapshots.generation()
        living = list(processes.workers()) if processes else []
        late = [name for name in living if reports.get(name, 0) < generation]
        segments = [path.stat().st_size for path in self._layout.log.glob("*") if path.is_file()]
        return {
            "status": "ok"
            if children and all(c.ready for c in children if c.name != "model") and not late
            else "degraded",
            "generation": generation,
            "workers": {name: reports.get(name, 0) for name in living},
            "processes": children,
            "supervisor": processes.supervisor if processes else 0,
            "gateway": processes.gateway if processes else "",
            "data_dir": str(self._layout.root),
            "ledger": {"files": len(segments), "bytes": sum(segments)},
        }

    async def keys(self) -> list[KeySpec]:
        """See `api.Control.keys`."""
        return await self._stores.run(self._stores.app.keys)

    async def add_key(self, key: KeySpec) -> Published:
        """See `api.Control.add_key`."""
        if key.payload is not None:
            try:
                check_payload(key.payload)
            except ConfigError as error:
                raise CallerError(error.message, param="payload") from error
        projects = {project.name for project in await self.projects()}
        if key.project not in projects:
            raise NotFound(
                f"there is no project {key.project!r}; there are: {', '.join(sorted(projects))}",
                param="project",
            )
        async with self._changing:
            await self._stores.run(lambda: self._stores.app.add_key(key))
            generation = await self._publish()
        return await self._wait_for(generation)

    async def revoke_key(self, key_id: str) -> Published | None:
        """See `api.Control.revoke_key`."""
        async with self._changing:
            if not await self._stores.run(lambda: self._stores.app.revoke_key(key_id)):
                return None
            generation = await self._publish()
        return await self._wait_for(generation)

    async def projects(self) -> list[Project]:
        """See `api.Control.projects`."""
        return await self._stores.run(self._stores.app.projects)

    async def find_calls(self, query: CallQuery, *, payload: bool) -> list[Call]:
        """See `api.Control.find_calls`."""
        return await self._stores.run(lambda: self._stores.calls.find(query, payload=payload))

    async def call(self, call_id: str) -> Call | None:
        """See `api.Control.call`."""
        return await self._stores.run(lambda: self._stores.calls.get(call_id))

    async def snapshot(self) -> Snapshot:
        """See `api.Control.snapshot`."""
        return await self._stores.run(self._stores.snapshots.load)

    def _load(self) -> Config:
        options = self._options
        path = None if options.config is None else Path(options.config)
        config = load_config(path, env=os.environ, data_dir=Path(options.data_dir))
        self._first = self._first or config
        return config

    async def _declared(self, config: Config) -> Snapshot:
        # With these settings the own model's process was started; options of the command line are in them.
        config = msgspec.structs.replace(config, own=self._options.own)
        snapshot = await asyncio.to_thread(declared, config)
        await check_snapshot(snapshot, self._layout.run)
        return snapshot

    async def _publish(self) -> int:
        snapshot = await self._stores.run(lambda: with_store(self._base, self._stores.app))
        await self._stores.run(lambda: self._stores.snapshots.publish(snapshot))
        return snapshot.generation

    async def _wait_for(self, generation: int) -> Published:
        """Return once every living worker obeys a generation, or the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _OBEY_S
        while True:
            processes = read_processes(self._layout.run)
            living = list(processes.workers()) if processes else []
            reports = dict(self._stores.snapshots.reports())
            late = tuple(name for name in living if reports.get(name, 0) < generation)
            if not late or loop.time() >= deadline:
                return Published(generation=generation, obeyed=not late, waiting=late)
            await asyncio.sleep(_LOOK_S)

    def _restart_notes(self, config: Config) -> tuple[str, ...]:
        return tuple(
            f"[{name}] has changed; that takes effect at the next start of `trimtab up`"
            for name in _NEEDS_RESTART
            if getattr(config, name) != getattr(self._first, name)
        )
