"""One way for a provider to misbehave, as data."""

from typing import Literal

import msgspec

from .reply import Lane
from .wire.changes import Change
from .wire.strikes import Strike

Where = Literal["connect", "before_head", "before_content", "after_content", "nowhere"]
"""The moment a fault strikes in a stream. `nowhere`: the reply is complete and correct, only unusual."""

Door = Literal["open", "refusing", "full", "plain_behind_tls", "untrusted_certificate"]
"""What the port is: all but `open` strike before any request is read."""

Rescue = Literal["must", "may", "cannot"]

_BOTH: tuple[Lane, ...] = ("stream", "whole")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One way for a provider to misbehave."""

    name: str
    what: str
    """One line: what the provider does."""
    strikes: Where
    expect: tuple[str, ...] = ()
    """Trimtab error codes that are a right report of it, the most telling first; empty: it is no error."""
    passes: bool = False
    """Whether a complete, correct answer is a right outcome without any fallback."""
    rescue: Rescue = "must"
    """Whether a healthy fallback saves the call while no content has gone out. `may`: it is allowed to."""
    lanes: tuple[Lane, ...] = _BOTH
    """Where it can be told from a healthy reply."""
    times: int = 0
    """How many requests it strikes before the provider is well again; 0: all."""
    note: str = ""
    """What else a gateway owes, where the codes do not say it."""
    door: Door = "open"
    change: Change | None = None
    """Rewrites the scripted reply."""
    strike: Strike | None = None
    """Rewrites what is sent."""

    def rescuable(self, lane: Lane) -> bool:
        """Return whether a healthy fallback must save the call in that lane.

        An unstreamed answer goes out whole or not at all, so nothing strikes it too late.
        """
        return self.rescue == "must" and (lane == "whole" or self.strikes != "after_content")
