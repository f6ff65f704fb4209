"""What one call has tried of one model's targets, and whom it may ask next, how soon."""

import random

from trimtab.pipeline.health import Budget, ModelPlan, Target, choose
from trimtab.types import ProviderError, RetryPolicy


class Tries:
    """One call's tries of one model."""

    __slots__ = ("_counts", "_model", "_ready_at", "_retry", "_spent", "_stream")

    def __init__(self, model: ModelPlan, retry: RetryPolicy, *, stream: bool) -> None:
        self._model = model
        self._retry = retry
        self._stream = stream
        self._counts: dict[int, int] = {}
        self._ready_at: dict[int, float] = {}
        """When a target wants to be asked again, where it said so, on the loop's clock."""
        self._spent: set[int] = set()

    @property
    def budget(self) -> Budget:
        """What retries are paid from: the model's, shared by its calls."""
        return self._model.budget

    def failed(self, target: Target, error: ProviderError, now: float) -> None:
        """Note a failed try: a lasting fault, or as many tries as a target gets, leave it out from now on."""
        key = id(target)
        self._counts[key] = count = self._counts.get(key, 0) + 1
        if not error.retryable or count >= self._retry.attempts:
            self._spent.add(key)
        if error.retry_after_s is not None:
            self._ready_at[key] = now + error.retry_after_s
            if error.retry_after_s > self._retry.retry_after_max_s:
                self._spent.add(key)

    def untried(self, now: float) -> tuple[Target, bool] | None:
        """Return a target that was not asked yet, and whether asking it is a probe."""
        return choose(self._model.targets, now, self._counts.keys(), stream=self._stream)

    def again(self, now: float) -> Target | None:
        """Return a target to ask once more; one whose breaker is open by now is none."""
        left = [
            target
            for target in self._model.targets
            if id(target) in self._counts and id(target) not in self._spent and target.health.breaker.closed
        ]
        return min(left, key=lambda target: self.pause_from(target, now), default=None)

    def pause_from(self, target: Target, now: float) -> tuple[float, int]:
        """Return what makes a target be asked again before another: how long it wants to wait, how often it failed."""
        return max(0.0, self._ready_at.get(id(target), 0.0) - now), self._counts[id(target)]

    def pause_s(self, target: Target, now: float) -> float:
        """Return how long to wait before asking it again: full jitter, and what it has asked for.

        Source of the jitter: M. Brooker, "Exponential Backoff And Jitter", 2015.
        """
        key = id(target)
        longest = min(self._retry.backoff_max_s, self._retry.backoff_s * 2 ** (self._counts[key] - 1))
        pause = random.uniform(0, longest)  # noqa: S311 - jitter keeps no secret
        return max(pause, self._ready_at.get(key, now) - now)
