"""What rules are judged by, gathered once for all of them; and the ports of what other rooms know."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from trimtab.storage import RollupRow


class BudgetShare(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a budget is spent."""

    name: str
    share: float
    """1.0: all of it."""
    project: str = ""
    """Whose it is; empty: no one project's."""


class Budgets(Protocol):
    """Whoever keeps budgets."""

    async def shares(self) -> Sequence[BudgetShare]:
        """Return how much of each budget of the present period is spent, reservations included."""
        ...


class Breakers(Protocol):
    """Whoever watches over targets."""

    async def open_targets(self) -> Sequence[str]:
        """Return the targets (`provider/model`) whose breaker is open at the moment, in any worker."""
        ...


class NoBudgets:
    """There are none."""

    async def shares(self) -> Sequence[BudgetShare]:
        """See `Budgets.shares`."""
        return ()


class NoBreakers:
    """Nobody watches."""

    async def open_targets(self) -> Sequence[str]:
        """See `Breakers.open_targets`."""
        return ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand."""

    now_us: int
    minutes: tuple[RollupRow, ...] = ()
    """Of the cube `minute_project`, as far back as the longest window of any rule."""
    unrecorded: tuple[tuple[int, int], ...] = ()
    """(when, calls, ends and feedback that could not be recorded until then), oldest first."""
    disk_free: float | None = None
    """Free share of the data folder's disk, 0 to 1."""
    disk_budget: float | None = None
    """Share of the disk budget (`[data] disk_gb`) that recorded calls take; None: there is no budget."""
    recorder_lag_s: float | None = None
    """The larger of the recorder's lag and its silence; None: not known."""
    failing_sinks: tuple[str, ...] = ()
    """Sinks of the exporter that take nothing."""
    budgets: tuple[BudgetShare, ...] = ()
    open_breakers: tuple[str, ...] = ()
