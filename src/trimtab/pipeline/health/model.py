"""One model, the targets that serve it, and what its calls may spend on retries."""

from collections.abc import Sequence

from .budget import Budget
from .target import NOBODY, Target, choose, soonest


class ModelPlan:
    """One model and the targets that serve it."""

    __slots__ = ("budget", "model", "targets")

    def __init__(self, model: str, targets: Sequence[Target], budget: Budget) -> None:
        """Take over what is known.

        Args:
            model: `provider/model`.
            targets: one at least; any of them must do.
            budget: of retries; plans of the same model share it.
        """
        self.model = model
        self.targets = targets
        self.budget = budget

    def pick(self, now: float, *, stream: bool = False) -> tuple[Target, bool] | None:
        """Return whom to ask, and whether that is a probe; None where all are left alone."""
        targets = self.targets
        if len(targets) == 1 and targets[0].health.breaker.closed:
            return targets[0], False
        return choose(targets, now, stream=stream)

    def well(self, now: float, *, but: Target | None = None, stream: bool = False) -> Target | None:
        """Return the best target whose breaker is closed, another one than `but`; None where there is none."""
        fit = [target for target in self.targets if target is not but and target.health.breaker.closed]
        chosen = choose(fit, now, NOBODY, stream=stream) if fit else None
        return None if chosen is None else chosen[0]

    def opens_in(self, now: float) -> float:
        """Return the seconds until one of the targets may be asked again."""
        return soonest(self.targets, now).health.breaker.state(now)[1]
