"""The control process's side of `api.Control`: one file for each part, on what they share in `room`."""

import contextlib
from types import TracebackType

from trimtab.access import Seal
from trimtab.serve.folder import Layout
from trimtab.serve.options import ChildOptions
from trimtab.types import Clock

from .alerts import AlertDesk, KeptBudgets, SeenBreakers
from .compose import with_store
from .machine import Machine
from .objects import Objects
from .people import People
from .records import Records
from .room import Room
from .stores import Stores

__all__ = ["ControlRoom", "Stores", "with_store"]


class ControlRoom:
    """See `api.Control`."""

    def __init__(
        self,
        options: ChildOptions,
        layout: Layout,
        stores: Stores,
        seal: Seal,
        token: str,
        clock: Clock | None = None,
    ) -> None:
        self._room = Room(options, layout, stores, seal, clock)
        self.records = Records(self._room, options.data.durability)
        self.people = People(self._room, token)
        self.objects = Objects(self._room)
        self.machine = Machine(self._room)
        self.alerts = AlertDesk(
            self._room, KeptBudgets(self.objects.budgets), SeenBreakers(self.machine.targets)
        )
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> "ControlRoom":
        self._closing.callback(self._room.accounts.close)
        self._closing.callback(self.people.close)
        self._closing.callback(self.records.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    async def keep_accounts(self) -> None:
        """Keep budgets in step with the ledger, until cancelled."""
        await self._room.accounts.keep()

    async def publish_first(self) -> None:
        """Publish what file and store say, so that the workers have something to obey.

        Raises:
            ConfigError: the configuration cannot be used, and nothing older is there to go on with.
        """
        await self._room.publish_first()

    async def settle(self) -> None:
        """Note what is only counted so far: call it before the end."""
        await self._room.note_counted()
