"""What alert rules ask of other rooms: how much of each budget is spent, and which breakers are open."""

from collections.abc import Awaitable, Callable, Sequence

from trimtab.api import BudgetRow
from trimtab.telemetry.alerts import BudgetShare
from trimtab.types import TargetHealth


class KeptBudgets:
    """See `telemetry.Budgets`."""

    def __init__(self, budgets: Callable[[], Awaitable[list[BudgetRow]]]) -> None:
        """Take what lists the budgets with their use."""
        self._budgets = budgets

    async def shares(self) -> Sequence[BudgetShare]:
        """See `telemetry.Budgets.shares`; of several subjects, the one that has spent most counts."""
        return [
            BudgetShare(
                name=row.spec.name,
                share=1 - row.remaining_nusd / row.spec.amount_nusd if row.spec.amount_nusd else 1.0,
                project=row.spec.project,
            )
            for row in await self._budgets()
        ]


class SeenBreakers:
    """See `telemetry.Breakers`."""

    def __init__(self, targets: Callable[[], Awaitable[list[TargetHealth]]]) -> None:
        """Take what lists the targets with their health."""
        self._targets = targets

    async def open_targets(self) -> Sequence[str]:
        """See `telemetry.Breakers.open_targets`."""
        return [health.target for health in await self._targets() if health.breaker == "open"]
