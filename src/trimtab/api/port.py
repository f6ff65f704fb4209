"""What the API asks of the process it lives in."""

from typing import Any, Protocol

import msgspec

from trimtab.storage import CallQuery
from trimtab.types import Call, KeySpec, Project, Snapshot


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a change."""

    generation: int
    obeyed: bool
    """Whether every living worker obeys it by now."""
    waiting: tuple[str, ...] = ()
    """Workers that have not reported it in time; they will obey as soon as they can."""
    notes: tuple[str, ...] = ()
    """What the caller should know, such as settings that take a restart."""


class Control(Protocol):
    """The control process, as the API sees it."""

    async def health(self) -> dict[str, Any]:
        """Return processes, generations by worker and the ledger's backlog."""
        ...

    async def keys(self) -> list[KeySpec]:
        """Return all keys that are valid."""
        ...

    async def add_key(self, key: KeySpec) -> Published:
        """Store a key and publish it.

        Raises:
            NotFound: its project does not exist.
        """
        ...

    async def revoke_key(self, key_id: str) -> Published | None:
        """Revoke a key and publish that; None where there is none of that id."""
        ...

    async def projects(self) -> list[Project]:
        """Return all projects."""
        ...

    async def find_calls(self, query: CallQuery, *, payload: bool) -> list[Call]:
        """Return matching calls, newest first."""
        ...

    async def call(self, call_id: str) -> Call | None:
        """Return one call with payload and feedback, or None."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return the snapshot published last."""
        ...

    async def reload(self) -> Published:
        """Read the configuration again and publish it.

        Raises:
            ConfigError: it cannot be used; what is published stays in force.
        """
        ...
