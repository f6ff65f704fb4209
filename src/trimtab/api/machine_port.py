"""The port of the processes themselves: what they say of their health, and what may be done to them."""

from typing import Any, Protocol

from trimtab.types import (
    Actor,
    Snapshot,
    TargetHealth,
)

from .answers import (
    ConfigReading,
    DemoFilled,
    Published,
    Restarted,
)


class Machine(Protocol):
    """The installation itself."""

    async def health(self) -> dict[str, Any]:
        """Return processes, generations by worker, the ledger's backlog, disk and counters."""
        ...

    async def targets(self) -> list[TargetHealth]:
        """Return what the workers have seen of each target, by name."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return the snapshot published last."""
        ...

    async def readings(self, limit: int) -> list[ConfigReading]:
        """Return readings of the configuration, newest first: what changed, and those that were refused."""
        ...

    async def reload(self, actor: Actor) -> Published:
        """Read the configuration again and publish it.

        Raises:
            ConfigError: it cannot be used; what is published stays in force.
        """
        ...

    async def back_up(self, actor: Actor, target: str) -> dict[str, Any]:
        """Write a consistent backup into a new folder while everything runs; return files and bytes.

        Raises:
            CallerError: the folder is there already, or cannot be written.
        """
        ...

    async def restart(self, actor: Actor) -> Restarted:
        """Read the configuration again, then replace the workers one after the other while all of them serve.

        Returns once that is over, or after 25 s, while it goes on.

        Raises:
            ConfigError: the configuration cannot be used; everything stays as it is.
        """
        ...

    async def fill_demo(self, actor: Actor) -> DemoFilled:
        """Fill the project `demo` with a day of made-up calls; one of the last day is left as it is."""
        ...
