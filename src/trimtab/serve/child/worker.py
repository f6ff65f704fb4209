"""The worker process: the gateway, under the latest snapshot."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from trimtab.limits import Limiter
from trimtab.serve import platform
from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.serve.options import EXIT_OK, GRACE_S, ChildOptions, is_loopback
from trimtab.serve.secretfile import unsealer
from trimtab.storage import SnapshotStore
from trimtab.types import Snapshot, StorageError, SystemClock, TrimtabError

from .life import LifeLine
from .server import http_server, run_async

_LOOK_S = 0.05
"""How often to look for a new generation: the status of one file, 2 µs."""

_KEEP_S = 1.0
"""How often to look after the state of limits: what the dead held, the clock."""

_CUT_S = 3.0
"""What calls that are cut at the end of the drain may take to record how they ended."""


class Obedient(Protocol):
    """What obeys snapshots: the part of `pipeline.Core` that is used here."""

    @property
    def generation(self) -> int:
        """Number of the snapshot in force."""
        ...

    def compile(self, snapshot: Snapshot) -> Any:  # noqa: ANN401 - for `swap` alone
        """Compile a snapshot; may run in a thread."""
        ...

    def swap(self, state: Any) -> None:  # noqa: ANN401
        """Obey it from now on."""
        ...


def run_worker(options: ChildOptions, line: LifeLine) -> int:
    """Serve until SIGTERM (stop) or SIGUSR2 (another worker takes over), then finish open calls; return the status."""
    platform.raise_open_files()
    return run_async(lambda: _work(options, line))


async def _work(options: ChildOptions, line: LifeLine) -> int:
    from trimtab.gateway import Gateway
    from trimtab.ledger import Counters, LogWriter, payload_policies
    from trimtab.limits import MappedLimiter
    from trimtab.pipeline import Board, Core, Shared
    from trimtab.storage.files import open_snapshot_store
    from trimtab.storage.sqlite import open_reply_cache

    stop, retire = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    # One thread is enough for a snapshot now and then: the allocator keeps some megabytes for each.
    loop.set_default_executor(ThreadPoolExecutor(1, thread_name_prefix="aside"))
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR2, retire.set)
    layout = Layout(Path(options.data_dir))
    snapshots = open_snapshot_store(layout.snapshot)
    counters = Counters(layout.counters, options.name)
    writer = LogWriter(layout.log, options.name, durability=options.data.durability)
    cache = open_reply_cache(layout.cache, lambda: core.state.policy.cache_mb * 1_000_000)
    limiter = MappedLimiter(layout.limits, count=counters.add_named)
    try:
        core = Core(
            log=writer,
            counts=counters,
            keep=payload_policies(),
            clock=SystemClock(),
            run_dir=layout.run,
            unseal=unsealer(layout.secret),
            shared=Shared(cache, limiter, Board(layout.breakers)),
        )
        if not await obey_first(snapshots, core, options.name, stop):
            return EXIT_OK
        gateway = Gateway(
            core,
            bound_to_loopback=is_loopback(options.gateway.host),
            counters_folder=str(layout.counters),
            published=str(layout.run),
        )
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(obey(snapshots, core, options.name)),
                tasks.create_task(core.watch_targets(options.name, layout.run)),
                tasks.create_task(keep_limits(limiter)),
            ]
            line.ready()
            _spare_the_collector()
            await serve_and_drain(gateway, options, stop, retire)
            for task in watching:
                task.cancel()
        await gateway.aclose()
    finally:
        # Last of all: every call, the cut ones too, has recorded its end by now.
        writer.close()
        limiter.close()
        counters.close()
        cache.close()
    return EXIT_OK


def _spare_the_collector() -> None:
    """Leave what start-up made out of garbage collection, and collect less often: 5 % of a call's CPU.

    A call makes next to no cycles; what it does make is found every 20,000 allocations instead of 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


async def obey_first(snapshots: SnapshotStore, core: Obedient, name: str, stop: asyncio.Event) -> bool:
    """Wait for a first snapshot and obey it; False if told to stop before.

    Where that cannot be reported, `obey` does so later.

    Raises:
        TrimtabError: it cannot be read or obeyed.
    """
    while not snapshots.generation():
        if stop.is_set():
            return False
        await asyncio.sleep(_LOOK_S)
    core.swap(core.compile(snapshots.load()))
    with contextlib.suppress(StorageError):  # a full disk must not keep it from its calls; `obey` tries again
        snapshots.report(name, core.generation)
    return True


async def obey(snapshots: SnapshotStore, core: Obedient, name: str) -> None:
    """Obey every new generation until cancelled; one that cannot be obeyed leaves the present one."""
    refused = reported = 0
    while True:
        await asyncio.sleep(_LOOK_S)
        try:
            found = snapshots.generation()
            if reported != core.generation:
                snapshots.report(name, core.generation)
                reported = core.generation
            if found in (core.generation, refused):
                continue
            snapshot = await asyncio.to_thread(snapshots.load)
            refused = snapshot.generation
            core.swap(await asyncio.to_thread(core.compile, snapshot))
            snapshots.report(name, core.generation)
            reported = core.generation
        except StorageError as error:
            # The disk may mend; look again, but not twenty times a second.
            log.error("the published snapshot cannot be read, or not be reported as obeyed: %s", error)
            await asyncio.sleep(1.0)
        except TrimtabError as error:
            log.error(
                "generation %d cannot be obeyed, %d stays in force: %s", refused, core.generation, error
            )
        except Exception:  # noqa: BLE001 - a plugin's factory may raise anything
            # A snapshot that cannot be used must not end the calls here.
            log.exception("generation %d cannot be obeyed, %d stays in force", refused, core.generation)
            await asyncio.sleep(1.0)


async def keep_limits(limiter: Limiter) -> None:
    """Do what the state of limits needs every second, until cancelled."""
    while True:
        await asyncio.sleep(_KEEP_S)
        try:
            limiter.check()
        except StorageError as error:
            log.error("the state of limits cannot be opened: %s", error)


async def serve_and_drain(
    app: Callable[..., Awaitable[None]],
    options: ChildOptions,
    stop: asyncio.Event,
    retire: asyncio.Event | None = None,
) -> None:
    """Serve until `stop`, then until all open calls are answered, at most `drain_s`; cut the rest.

    Set `retire` where another process has begun to accept on the same socket: then clients have a while to let go
    of their connections, each told so by the reply to what it asks there, before the same end.
    """
    loop = asyncio.get_running_loop()
    server = http_server(app, options.gateway)
    serving = loop.create_task(server.run(options.listener, stop))
    waiting = [loop.create_task(event.wait()) for event in (stop, retire) if event is not None]
    await asyncio.wait((serving, *waiting), return_when=asyncio.FIRST_COMPLETED)
    if retire is not None and retire.is_set() and not (stop.is_set() or serving.done()):
        server.retire()
        await asyncio.wait((serving, waiting[0]), timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
    for task in waiting:
        task.cancel()
    done, _ = await asyncio.wait((serving,), timeout=options.gateway.drain_s)
    if not done:
        log.warning("calls still open after %g s are cut", options.gateway.drain_s)
        server.cut()
        done, _ = await asyncio.wait((serving,), timeout=_CUT_S)
    if not done:
        serving.cancel()
        await asyncio.wait((serving,), timeout=_CUT_S)
    elif not serving.cancelled() and (error := serving.exception()) is not None:
        raise error
