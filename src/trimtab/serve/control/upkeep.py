"""What takes longer than a change: the workers replaced, the demo filled."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import msgspec

from trimtab.api import DemoFilled, Restarted
from trimtab.serve import demo
from trimtab.serve.runfile import read_processes
from trimtab.storage import CallQuery
from trimtab.types import Actor, Overloaded

from .erase import erase_project
from .room import Deed, Room

_WAIT_S: Final = 25.0
"""How long a request waits for a rolling restart: less than its caller's patience."""

_LOOK_S: Final = 0.05


async def replace_workers(run: Path) -> Restarted:
    """Ask the supervisor for a rolling restart of the workers; return once it is over, or after 25 s.

    Raises:
        Overloaded: the supervisor is not there to be asked, or is ending.
    """
    before = read_processes(run)
    if before is None or before.stopping or before.supervisor != os.getppid():
        raise Overloaded("the supervisor is not there, or is ending; see whether `trimtab up` still runs")
    os.kill(before.supervisor, signal.SIGUSR2)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _WAIT_S
    rollout = before.rollout
    while loop.time() < deadline:
        await asyncio.sleep(_LOOK_S)
        processes = read_processes(run)
        rollout = rollout if processes is None else processes.rollout
        if rollout.number > before.rollout.number and not rollout.under_way:
            return Restarted(replaced=rollout.replaced, done=not rollout.error, error=rollout.error)
    under_way = rollout.number > before.rollout.number
    return Restarted(replaced=rollout.replaced if under_way else 0, done=False)


async def fill_demo(room: Room, actor: Actor) -> DemoFilled:
    """Fill the project `demo` through the append log, which the recorder stores."""
    now_us = room.clock.now_us()
    async with room.changing:
        if await room.stores.calls(lambda calls: demo.demo_is_fresh(calls, now_us)):
            return DemoFilled(calls=0)
        old = await room.stores.calls(lambda calls: calls.find(CallQuery(project=demo.DEMO, limit=1)))
        replaced = await erase_project(room, demo.DEMO) if old else 0
        deed = Deed(action="demo.fill", object=demo.DEMO)
        keys: dict[str, str] = {}
        await room.change(actor, deed, lambda app: keys.update(demo.add_project(app, now_us)))
        filled = await asyncio.to_thread(demo.fill_log, room.layout.log, keys, now_us)
    return DemoFilled(**msgspec.structs.asdict(filled) | {"replaced": replaced})
