"""How a worker follows the published snapshot, on real files."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from trimtab.api import Published
from trimtab.serve.child.worker import obey, obey_first
from trimtab.serve.control.machine import Machine
from trimtab.serve.control.room import Room
from trimtab.storage.files import FileSnapshotStore, open_snapshot_store
from trimtab.types import Actor, ConfigError, Policy, Snapshot, StorageError

PATIENCE_S = 10.0


class Core:
    """Obeys snapshots, but for those whose policy it cannot stand."""

    def __init__(self) -> None:
        self.held: Snapshot | None = None
        self.refused: list[int] = []

    @property
    def generation(self) -> int:
        return self.held.generation if self.held else 0

    def compile(self, snapshot: Snapshot) -> Any:
        if snapshot.policy.payload == "hash":
            self.refused.append(snapshot.generation)
            raise RuntimeError("a plugin's factory fails")
        if snapshot.policy.payload == "masked":
            self.refused.append(snapshot.generation)
            raise ConfigError("cannot be obeyed")
        return snapshot

    def swap(self, state: Any) -> None:
        self.held = state


class Watched(FileSnapshotStore):
    """Counts how often somebody looked for a new generation."""

    looks = 0

    def generation(self) -> int:
        self.looks += 1
        return super().generation()


@pytest.fixture
def store(tmp_path: Path) -> FileSnapshotStore:
    return open_snapshot_store(tmp_path / "snapshot")


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_worker_waits_for_the_first_snapshot_and_reports_it(store: FileSnapshotStore) -> None:
    async def main() -> None:
        core = Core()
        waiting = asyncio.ensure_future(obey_first(store, core, "worker-1", asyncio.Event()))
        await asyncio.sleep(0)
        assert not waiting.done()
        store.publish(Snapshot(generation=3))
        assert await asyncio.wait_for(waiting, PATIENCE_S)
        assert core.generation == 3
        assert dict(store.reports()) == {"worker-1": 3}

    asyncio.run(main())


def test_a_worker_told_to_stop_waits_no_longer(store: FileSnapshotStore) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        stop.set()
        assert not await asyncio.wait_for(obey_first(store, Core(), "worker-1", stop), PATIENCE_S)

    asyncio.run(main())


def test_a_first_snapshot_that_cannot_be_obeyed_ends_the_worker(store: FileSnapshotStore) -> None:
    store.publish(Snapshot(generation=1, policy=Policy(payload="masked")))
    with pytest.raises(ConfigError):
        asyncio.run(obey_first(store, Core(), "worker-1", asyncio.Event()))


def test_a_plugin_that_raises_anything_leaves_the_last_good_generation_in_force(
    store: FileSnapshotStore,
) -> None:
    async def main() -> None:
        core = Core()
        store.publish(Snapshot(generation=1))
        assert await obey_first(store, core, "worker-1", asyncio.Event())
        watching = asyncio.ensure_future(obey(store, core, "worker-1"))
        store.publish(Snapshot(generation=2, policy=Policy(payload="hash")))
        await until(lambda: core.refused == [2])
        assert core.generation == 1
        store.publish(Snapshot(generation=3))
        await until(lambda: core.generation == 3 or watching.done())
        assert core.generation == 3
        watching.cancel()

    asyncio.run(main())


def test_a_reload_that_raises_anything_does_not_end_the_control_process() -> None:
    class Reloading(Machine):
        asked = 0

        async def reload(self, actor: Actor) -> Published:
            self.asked += 1
            if self.asked == 1:
                raise RuntimeError("a plugin's factory fails")
            return Published(generation=2, obeyed=True)

    async def main() -> None:
        room, asked = Reloading(cast("Room", None)), asyncio.Event()
        reloading = asyncio.ensure_future(room.reload_on(asked))
        for number in (1, 2):
            asked.set()
            await until(lambda number=number: room.asked == number or reloading.done())
        assert not reloading.done()
        assert room.asked == 2
        reloading.cancel()

    asyncio.run(main())


def test_good_generations_are_obeyed_and_bad_ones_leave_the_last_good_in_force(tmp_path: Path) -> None:
    store = Watched(tmp_path / "snapshot")

    async def main() -> None:
        core = Core()
        store.publish(Snapshot(generation=1))
        assert await obey_first(store, core, "worker-1", asyncio.Event())
        watching = asyncio.ensure_future(obey(store, core, "worker-1"))
        store.publish(Snapshot(generation=2))
        await until(lambda: core.generation == 2)

        store.publish(Snapshot(generation=3, policy=Policy(payload="masked")))
        await until(lambda: core.refused == [3])
        # Several looks later it has still been compiled once only, and nothing changed.
        looked = store.looks
        await until(lambda: store.looks >= looked + 3)
        assert core.refused == [3]
        assert core.generation == 2

        (tmp_path / "snapshot" / "snapshot.json").write_bytes(b"{")
        looked = store.looks
        await until(lambda: store.looks >= looked + 2)
        assert not watching.done()
        (tmp_path / "snapshot" / "snapshot.json").unlink()
        store.publish(Snapshot(generation=5))
        await until(lambda: core.generation == 5)
        assert dict(store.reports()) == {"worker-1": 5}
        watching.cancel()

    asyncio.run(main())


def test_a_damaged_first_snapshot_is_an_error_not_a_guess(store: FileSnapshotStore, tmp_path: Path) -> None:
    store.publish(Snapshot(generation=1))
    for part in (tmp_path / "snapshot" / "parts").iterdir():
        part.write_bytes(b"[]")
    with pytest.raises(StorageError, match="damaged"):
        asyncio.run(obey_first(store, Core(), "worker-1", asyncio.Event()))
