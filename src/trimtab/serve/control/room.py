"""What the parts of the control process share: publishing, auditing, one change after the other."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.access import Refusals, Repeated, Seal, is_sealed
from trimtab.api import Published
from trimtab.config import Config, load_config
from trimtab.serve.child.check import check_snapshot
from trimtab.serve.data import note_in_force
from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.serve.options import ChildOptions
from trimtab.serve.publish import declared, read_catalog
from trimtab.serve.runfile import read_processes
from trimtab.storage import AppStore
from trimtab.types import (
    Actor,
    AuditEntry,
    Clock,
    ConfigError,
    ProviderSpec,
    Role,
    Snapshot,
    SystemClock,
    new_id,
)

from .compose import Stored, compose, gather
from .config import Reading, Readings
from .limits import Accounts
from .stores import Stores

OBEY_S: Final = 5.0
"""How long a change waits for the workers before it says who is late."""

_LOOK_S: Final = 0.02

SYSTEM: Final = Actor(name="system", role="admin")
"""Stands in the audit log for a start, a signal and the watch of the file."""


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What is done, as the audit log names it. No secret stands in it."""

    action: str
    object: str
    detail: dict[str, Any] = {}


class Room:
    """What every part needs. Changes happen one after the other, under `changing`."""

    def __init__(
        self, options: ChildOptions, layout: Layout, stores: Stores, seal: Seal, clock: Clock | None = None
    ) -> None:
        self.layout = layout
        self.stores = stores
        self.seal = seal
        self.clock = clock or SystemClock()
        self.accounts = Accounts(layout, stores, self.clock)
        self.changing = asyncio.Lock()
        self.erasures = 0
        """Carried out since the start."""
        self._refusals: Refusals[tuple[str, Role, str]] = Refusals(self.clock)
        """Of roles: by user, role and action."""
        self.base = Snapshot(generation=0)
        """What file and environment declare."""
        self.fixed: frozenset[str] = frozenset()
        """Settings that the file sets."""
        self.config: Config | None = None
        """What the file says, as it was read last; None before."""
        self._options = options
        self.readings = Readings(layout.root, seal.mark)
        self._judged: dict[str, tuple[ProviderSpec, str]] = {}
        """Provider → as it was judged last, and what is wrong with it."""

    # The file

    async def publish_first(self) -> None:
        """Publish once at the start, so that workers have something to obey.

        Raises:
            ConfigError: the configuration cannot be used, and nothing older is there to go on with.
            StorageError: it cannot be written; call it again.
        """
        deed = Deed(action="config.read", object="configuration")
        try:
            reading = await self.read_file()
            if reading.changes:
                await self.note(SYSTEM, msgspec.structs.replace(deed, detail=reading.detail()))
        except ConfigError as error:
            if not self._options.restarts:
                raise
            # The workers serve what was published before; so do we, until the file is mended.
            log.error("the configuration is refused, what was in force stays: %s", error)
            await self.note(
                SYSTEM, msgspec.structs.replace(deed, detail={"error": error.message}), refused=True
            )
            held = await self.stores.app(lambda _: self.stores.snapshots.load())
            mine = tuple(spec for spec in held.providers if spec.reach == "any")
            self.base = msgspec.structs.replace(held, providers=mine, keys=())
        async with self.changing:
            await self.publish()

    async def read_file(self) -> Reading:
        """Read the configuration again and take it as the base; return what it came to.

        Raises:
            ConfigError: it cannot be used; the base stays.
        """
        options = self._options
        path = None if options.config is None else Path(options.config)
        config = load_config(path, env=os.environ, data_dir=Path(options.data_dir))
        # With these settings the own model's process was started; options of the command line are in them.
        base = await asyncio.to_thread(declared, msgspec.structs.replace(config, own=options.own))
        base = msgspec.structs.replace(base, read_us=self.clock.now_us())
        await check_snapshot(base, self.layout.run)
        self.base, self.fixed, self.config = base, config.declared, config
        overrides = read_catalog(config.catalog_file)
        await asyncio.to_thread(note_in_force, self.layout.root, overrides, base.catalog, self.clock.now_us())
        return self.readings.take(config)

    # Publishing

    async def publish(self) -> int:
        """Publish what file and store say now; return the generation. Call it under `changing`."""
        stored = await self._sound(await self.stores.app(gather))
        await self.accounts.meet(compose(self.base, stored, 0, fixed=self.fixed))

        def put(app: AppStore) -> int:
            """Publish under the next generation."""
            snapshot = compose(self.base, stored, app.next_generation(), fixed=self.fixed)
            self.stores.snapshots.publish(snapshot)
            return snapshot.generation

        return await self.stores.app(put)

    async def check(self, stored: Stored) -> None:
        """Could the workers obey this? Asked before it is stored.

        Raises:
            ConfigError: they could not.
        """
        snapshot = compose(self.base, await self._sound(stored), 0, fixed=self.fixed)
        await check_snapshot(snapshot, self.layout.run, self.seal.open)

    async def wait_for(self, generation: int, notes: tuple[str, ...] = ()) -> Published:
        """Return once every living worker obeys a generation, or the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + OBEY_S
        while True:
            processes = read_processes(self.layout.run)
            living = list(processes.workers()) if processes else []
            reports = dict(self.stores.snapshots.reports())
            late = tuple(name for name in living if reports.get(name, 0) < generation)
            if not late or loop.time() >= deadline:
                return Published(generation=generation, obeyed=not late, waiting=late, notes=notes)
            await asyncio.sleep(_LOOK_S)

    async def _sound(self, stored: Stored) -> Stored:
        """Leave out what would keep workers from obeying all the rest: a provider that cannot be made any more.

        A key that does not open is left out alone: calls then fail with the provider's own refusal.
        """
        kept = []
        for spec in stored.providers:
            if is_sealed(spec.api_key) and not self.opens(spec):
                spec = msgspec.structs.replace(spec, api_key="")  # noqa: PLW2901 - the one to publish
            if not await self._problem(spec):
                kept.append(spec)
        return msgspec.structs.replace(stored, providers=tuple(kept))

    def opens(self, spec: ProviderSpec) -> bool:
        """Return whether a sealed key opens with this installation's secret."""
        try:
            self.seal.open(spec)
        except ConfigError as error:
            log.error("%s", error)
            return False
        return True

    async def check_provider(self, spec: ProviderSpec) -> None:
        """Could a worker make this provider?

        Raises:
            ConfigError: it could not.
        """
        alone = Snapshot(generation=0, providers=(spec,), policy=self.base.policy)
        await check_snapshot(alone, self.layout.run, self.seal.open)

    async def _problem(self, spec: ProviderSpec) -> str:
        judged = self._judged.get(spec.name)
        if judged is None or judged[0] != spec:
            problem = ""
            try:
                await self.check_provider(spec)
            except ConfigError as error:
                problem = error.message
                log.error("provider %r is left out: %s", spec.name, problem)
            judged = self._judged[spec.name] = (spec, problem)
        return judged[1]

    # Auditing

    async def do(self, actor: Actor, deed: Deed, work: Callable[[AppStore], object]) -> None:
        """Do something to the store, and note it in the audit log, in one transaction."""
        entry = self.entry(actor, deed)

        def both(app: AppStore) -> None:
            """Do it and note it, or neither."""
            with app.together():
                work(app)
                app.add_audit(entry)

        await self.stores.app(both)

    async def change(self, actor: Actor, deed: Deed, work: Callable[[AppStore], object]) -> int:
        """Do something to the store, note it, and publish; return the generation. Call it under `changing`."""
        await self.do(actor, deed, work)
        return await self.publish()

    async def refuse(self, actor: Actor, deed: Deed) -> None:
        """Note that a role did not allow something; what one tries again and again is counted, not noted each time."""
        entries = self._counted(self._refusals.due())
        if self._refusals.is_first((actor.name, actor.role, deed.action)):
            entries.append(self.entry(actor, deed, refused=True))
        await self._add(entries)

    async def note_counted(self) -> None:
        """Note what was counted of refusals until now."""
        await self._add(self._counted([*self._refusals.due(), *self._refusals.running()]))

    async def _add(self, entries: list[AuditEntry]) -> None:
        def add(app: AppStore) -> None:
            with app.together():
                for entry in entries:
                    app.add_audit(entry)

        if entries:
            await self.stores.app(add)

    def _counted(self, found: list[Repeated[tuple[str, Role, str]]]) -> list[AuditEntry]:
        return [
            self.entry(
                Actor(name=name, role=role),
                Deed(action=action, object="(again)", detail={"times": times}),
                refused=True,
            )
            for (name, role, action), times in found
        ]

    async def note(self, actor: Actor, deed: Deed, *, refused: bool = False) -> None:
        """Note something in the audit log that changes nothing in the app store."""
        entry = self.entry(actor, deed, refused=refused)
        await self.stores.app(lambda app: app.add_audit(entry))

    def entry(self, actor: Actor, deed: Deed, *, refused: bool = False) -> AuditEntry:
        """Return an entry of the audit log."""
        return AuditEntry(
            id=new_id(),
            at_us=self.clock.now_us(),
            actor=actor.name,
            role=actor.role,
            action=deed.action,
            object=deed.object[:200],
            detail=deed.detail,
            outcome="refused" if refused else "done",
            address=actor.address,
        )
