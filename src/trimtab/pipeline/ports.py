"""What the pipeline needs of the ledger, as ports: the process that makes calls hands them in."""

from collections.abc import Callable
from typing import Protocol

from trimtab.types import Record

Keep = Callable[[bytes], bytes]
"""A payload policy: what of these bytes is kept."""


class Log(Protocol):
    """The append log of this process."""

    @property
    def waits(self) -> bool:
        """Whether records must be on the disk itself before a call goes on (`durability = "power"`)."""
        ...

    def append(self, record: Record) -> None:
        """Write a record so that it survives the death of this process.

        Raises:
            LedgerUnavailable: it cannot be written.
        """
        ...

    async def append_durable(self, record: Record) -> None:
        """Write a record so that it survives a power cut.

        Raises:
            LedgerUnavailable: it cannot be written.
        """
        ...


class Counts(Protocol):
    """This process's counters."""

    def add_named(self, name: str, n: int = 1) -> None:
        """Add to a counter."""
        ...

    def add_finished(self, outcome: str, usage: tuple[int, int, int], ms: float) -> None:
        """Add a call that has ended: its outcome's counter, (input, output, nano-USD), its latency."""
        ...


class ReplyCache(Protocol):
    """Replies that may be given again, shared by the processes of a machine; it may forget any of them."""

    def get(self, key: bytes, now_us: int) -> bytes | None:
        """Return what was kept under a key and has not expired, or None."""
        ...

    def put(self, key: bytes, value: bytes, expires_us: int, began_us: int) -> None:
        """Keep a reply. Never waits for a disk, and raises nothing.

        Args:
            key: where.
            value: the reply.
            expires_us: until when.
            began_us: when its call began: one that was under way when replies were cleared must not be kept.
        """
        ...


class NoReplyCache:
    """Keeps nothing: for processes that have no cache."""

    def get(self, key: bytes, now_us: int) -> bytes | None:
        """Return None."""
        return None

    def put(self, key: bytes, value: bytes, expires_us: int, began_us: int) -> None:
        """Forget it at once."""
