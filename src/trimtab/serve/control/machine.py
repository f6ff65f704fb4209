"""The installation itself: health, snapshot, reload, backup, restart, demo."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from trimtab.api import ConfigReading, DemoFilled, Published, Restarted
from trimtab.ledger import read_all
from trimtab.pipeline import read_targets
from trimtab.serve.data import back_up
from trimtab.serve.log import log
from trimtab.serve.runfile import read_processes
from trimtab.types import Actor, CallerError, Snapshot, TargetHealth, TrimtabError

from .config import history, watch
from .room import SYSTEM, Deed, Room
from .upkeep import fill_demo, replace_workers

COUNTERS = (
    "requests",
    "answered",
    "errors",
    "cancelled",
    "rejected",
    "in_flight",
    "unrecorded_opened",
    "unrecorded_closed",
    "unrecorded_feedback",
)


class Machine:
    """See `api.Machine`."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def health(self) -> dict[str, Any]:
        """See `api.Machine.health`."""
        return await asyncio.to_thread(self._health)

    def _health(self) -> dict[str, Any]:
        layout, snapshots = self._room.layout, self._room.stores.snapshots
        processes = read_processes(layout.run)
        children = () if processes is None else processes.children
        reports = dict(snapshots.reports())
        generation = snapshots.generation()
        living = list(processes.workers()) if processes else []
        late = [name for name in living if reports.get(name, 0) < generation]
        segments = [path.stat().st_size for path in layout.log.glob("*") if path.is_file()]
        disk = shutil.disk_usage(layout.root)
        counted = read_all(layout.counters)
        well = (
            children
            and all(c.ready for c in children if c.name != "model" and c.turn != "joining")
            and not late
        )
        return {
            "status": "ok" if well else "degraded",
            "generation": generation,
            "workers": {name: reports.get(name, 0) for name in living},
            "processes": children,
            "supervisor": processes.supervisor if processes else 0,
            "gateway": processes.gateway if processes else "",
            "data_dir": str(layout.root),
            "ledger": {"files": len(segments), "bytes": sum(segments)},
            "disk": {"free_bytes": disk.free, "total_bytes": disk.total, "used_bytes": _used(layout.root)},
            "counters": {name: counted[name] for name in COUNTERS},
        }

    async def targets(self) -> list[TargetHealth]:
        """See `api.Machine.targets`."""
        return await asyncio.to_thread(read_targets, self._room.layout.run)

    async def snapshot(self) -> Snapshot:
        """See `api.Machine.snapshot`."""
        return await self._room.stores.app(lambda _: self._room.stores.snapshots.load())

    async def back_up(self, actor: Actor, target: str) -> dict[str, Any]:
        """See `api.Machine.back_up`. Without `secret.key`: providers' keys in it do not open elsewhere."""
        folder = Path(target)
        if not folder.is_absolute() or "\0" in target:
            raise CallerError(f"target {target[:200]!r} is no absolute path", param="target")
        deed = Deed(action="backup.make", object=folder.name, detail={"target": target})
        await self._room.note(actor, deed)
        return msgspec.structs.asdict(await asyncio.to_thread(back_up, self._room.layout, folder))

    async def reload(self, actor: Actor) -> Published:
        """See `api.Machine.reload`."""
        deed = Deed(action="config.reload", object="configuration")
        async with self._room.changing:
            try:
                reading = await self._room.read_file()
            except TrimtabError as error:
                refused = msgspec.structs.replace(deed, detail={"error": error.message})
                await self._room.note(actor, refused, refused=True)
                raise
            deed = msgspec.structs.replace(deed, detail=reading.detail())
            generation = await self._room.change(actor, deed, lambda _: None)
        return await self._room.wait_for(generation, reading.notes)

    async def readings(self, limit: int) -> list[ConfigReading]:
        """See `api.Machine.readings`."""
        return await self._room.stores.app(lambda app: history(app, limit))

    async def watch(self, asked: asyncio.Event) -> None:
        """Ask for a reload whenever a watched file has changed, until cancelled."""
        readings = self._room.readings
        await watch(lambda: readings.watched, asked, read=lambda: readings.stamps)

    async def restart(self, actor: Actor) -> Restarted:
        """See `api.Machine.restart`."""
        await self.reload(actor)
        await self._room.note(actor, Deed(action="workers.restart", object="workers"))
        restarted = await replace_workers(self._room.layout.run)
        if restarted.done and not restarted.error:
            self._room.readings.workers_replaced()
        return restarted

    async def fill_demo(self, actor: Actor) -> DemoFilled:
        """See `api.Machine.fill_demo`."""
        return await fill_demo(self._room, actor)

    async def reload_on(self, asked: asyncio.Event) -> None:
        """Reload whenever an event is set, until cancelled."""
        while True:
            await asked.wait()
            asked.clear()
            # A plugin's factory may raise anything, and a reload that fails must not end this process.
            [published] = await asyncio.gather(self.reload(SYSTEM), return_exceptions=True)
            if isinstance(published, TrimtabError):
                log.error("the configuration is refused, what was in force stays: %s", published)
            elif isinstance(published, BaseException):
                log.error("the configuration cannot be used, what was in force stays", exc_info=published)
            else:
                for note in published.notes:
                    log.warning("%s", note)
                log.info("generation %d is published", published.generation)


def _used(root: os.PathLike[str]) -> int:
    """Return the bytes that files under a folder take on disk; those that vanish meanwhile count nothing."""
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118 - thousands of files
            except OSError:
                continue
    return total
