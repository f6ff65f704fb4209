"""The port of a sink: who takes calls and spans out of Trimtab, in the order they were stored, at least once."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from trimtab.types import Call, Clock, SpanEnded


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent in one go."""

    calls: tuple[Call, ...] = ()
    """Whole, words as recorded included: what a sink passes on of them is its settings' to say."""
    spans: tuple[SpanEnded, ...] = ()

    def __len__(self) -> int:
        return len(self.calls) + len(self.spans)


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch that was delivered."""

    rejected: int = 0
    """Items that the other side took the batch without; sending them again would not help."""
    note: str = ""
    """Why, in its words."""


class SinkContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink is made with, beside its options."""

    name: str
    """Its name in the configuration."""
    env: Mapping[str, str]
    """For `${NAME}` in options that are secrets: they are expanded when the sink is made, and never stored."""
    clock: Clock
    instance: str
    """Names this installation among others of the same service: stable as long as its data folder."""
    version: str


class SinkUnavailable(Exception):
    """It could not be sent now: try the same batch again later. Never leaves the exporter."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, tries: int | None = None) -> None:
        """Say why.

        Args:
            message: what a log may show.
            retry_after_s: when the other side asked to be asked again.
            tries: give this batch up after so many; None: never.
        """
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.tries = tries


class SinkRefused(Exception):
    """It will never take this batch: go on with the next. Never leaves the exporter."""


class Sink(Protocol):
    """Takes batches, one at a time, from one task. A batch may come again, with the same ids, after a crash."""

    every_s: float
    """Between two calls of `pulse`, in seconds; 0: it wants none."""

    async def send(self, batch: Batch) -> Sent:
        """Deliver a batch; once this returns, it is out of our hands.

        Raises:
            SinkUnavailable: try the same again later.
            SinkRefused: never try the same again.
        """
        ...

    async def pulse(self, counters: Mapping[str, int]) -> None:
        """Deliver what is not a matter of single calls: metrics, `counters` being the workers' sums.

        Raises:
            SinkUnavailable: it is tried again at the next time.
            SinkRefused: likewise.
        """
        ...

    async def aclose(self) -> None:
        """Release sockets and files."""
        ...


class MakeSink(Protocol):
    """What an entry point of `trimtab.sinks` names."""

    def __call__(self, options: Mapping[str, Any], context: SinkContext) -> Sink:
        """Make a sink; nothing is opened on the network yet.

        Raises:
            ConfigError: the options cannot be used.
        """
        ...
