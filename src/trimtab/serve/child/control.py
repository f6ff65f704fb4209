"""The control process: owns `app.db`, publishes the snapshot, and answers console and admin API."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from trimtab.api import make_api
from trimtab.console import make_console
from trimtab.ledger import settle
from trimtab.serve.control import ControlRoom, Stores
from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.serve.options import EXIT_OK, ChildOptions, is_loopback, url_of
from trimtab.serve.runfile import new_token, read_token, write_admin, write_token
from trimtab.serve.secretfile import make_seal
from trimtab.types import StorageError

from .faces import by_path
from .life import LifeLine
from .server import run_async, serve

_END_S = 2.0

_AGAIN_S = 1.0
"""Between two tries to write what the disk had no room for."""


def run_control(options: ChildOptions, line: LifeLine) -> int:
    """Publish and answer until SIGTERM; return the exit status."""
    return run_async(lambda: _work(options, line))


async def _work(options: ChildOptions, line: LifeLine) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    layout = Layout(Path(options.data_dir))
    seal = make_seal(layout.secret)
    token = read_token(layout.run) or new_token()
    if not options.restarts:
        _settle_former(layout.counters, options.gateway.workers)
    with Stores(layout) as stores, ControlRoom(options, layout, stores, seal, token) as control:
        late: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        try:
            await control.publish_first()
        except StorageError as error:
            # A full disk: the workers obey what was published before.
            if not stores.snapshots.generation():
                raise
            late.append((f"what is configured cannot be published: {error}", control.publish_first))
        loopback = is_loopback(options.console.host)
        faces = by_path(
            api=make_api(control, token, bound_to_loopback=loopback),
            console=make_console(
                control,
                bound_to_loopback=loopback,
                gateway_url=url_of(options.gateway.host, options.gateway.port),
            ),
        )
        async with asyncio.TaskGroup() as tasks:
            reloads = asyncio.Event()
            loop.add_signal_handler(signal.SIGHUP, reloads.set)
            background = [
                tasks.create_task(control.machine.reload_on(reloads)),
                tasks.create_task(control.machine.watch(reloads)),
                tasks.create_task(control.alerts.run()),
                tasks.create_task(control.keep_accounts()),
            ]
            tell = partial(_tell, layout.run, token, url_of(options.console.host, options.console.port))
            try:
                tell()
            except OSError as error:
                why = f"commands cannot reach this Trimtab: {layout.run} cannot be written: {error}"
                late.append((why, partial(asyncio.to_thread, tell)))
            background += (tasks.create_task(_catch_up(why, work)) for why, work in late)
            line.ready()
            try:
                async with asyncio.timeout(None) as limit:
                    serving = tasks.create_task(serve(faces, options.listener, options.gateway, stop))
                    await stop.wait()
                    limit.reschedule(loop.time() + _END_S)
                    await serving
            except TimeoutError:
                log.warning("admin requests still open after %g s are cut", _END_S)
            for task in background:
                task.cancel()
        with contextlib.suppress(StorageError):  # a full disk keeps nobody from ending
            await control.settle()
    return EXIT_OK


def _settle_former(counters: Path, workers: int) -> None:
    """Take back what workers had in flight that are gone, and whose names none of this start has."""
    present = {f"worker-{number}" for number in range(1, workers + 1)}
    for path in counters.glob("worker-*.counters"):
        if path.stem not in present:
            settle(counters, path.stem)


def _tell(run: Path, token: str, url: str) -> None:
    """Say how the admin API is reached."""
    write_token(run, token)
    write_admin(run, url)


async def _catch_up(why: str, work: Callable[[], Awaitable[object]]) -> None:
    """Do what failed for want of space again and again, until there is some."""
    log.error("%s; it is tried again until it succeeds", why)
    while True:
        await asyncio.sleep(_AGAIN_S)
        try:
            await work()
        except (StorageError, OSError):
            continue
        log.info("there is room again: what waited is written")
        return
