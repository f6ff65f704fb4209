"""The control process: owns `app.db`, publishes the snapshot, and answers console and admin API."""

import asyncio
import signal
from pathlib import Path

from trimtab.api import make_api
from trimtab.console import make_console
from trimtab.serve.control import ControlRoom, Stores
from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.serve.options import EXIT_OK, ChildOptions, is_loopback, url_of
from trimtab.serve.runfile import make_token, write_admin
from trimtab.serve.secretfile import make_seal

from .faces import by_path
from .life import LifeLine
from .server import run_async, serve

_END_S = 2.0


def run_control(options: ChildOptions, line: LifeLine) -> int:
    """Publish and answer until SIGTERM; return the exit status."""
    return run_async(lambda: _work(options, line))


async def _work(options: ChildOptions, line: LifeLine) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    layout = Layout(Path(options.data_dir))
    seal = make_seal(layout.secret)
    token = make_token(layout.run)
    with Stores(layout) as stores, ControlRoom(options, layout, stores, seal, token) as control:
        await control.publish_first()
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
            reloading = tasks.create_task(control.machine.reload_on(reloads))
            watching = tasks.create_task(control.machine.watch(reloads))
            write_admin(layout.run, url_of(options.console.host, options.console.port))
            line.ready()
            try:
                async with asyncio.timeout(None) as limit:
                    serving = tasks.create_task(serve(faces, options.listener, options.gateway, stop))
                    await stop.wait()
                    limit.reschedule(loop.time() + _END_S)
                    await serving
            except TimeoutError:
                log.warning("admin requests still open after %g s are cut", _END_S)
            reloading.cancel()
            watching.cancel()
    return EXIT_OK
