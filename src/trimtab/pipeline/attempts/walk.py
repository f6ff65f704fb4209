"""Asking until one answers: targets, probes, hedges, retries, fallbacks, the degraded model, deadlines."""

import asyncio
from math import inf
from typing import TYPE_CHECKING

from trimtab.pipeline.ask import Parsed
from trimtab.pipeline.health import ModelPlan, Target, least_bad
from trimtab.pipeline.record import Outcome
from trimtab.pipeline.state import Plan
from trimtab.pipeline.watch import Sweeper, Watch
from trimtab.types import CallKind, ProviderError, TrimtabError
from trimtab.types.errors import FirstByteTimeout, NoHealthyTarget, ProviderAuthFailed

from .attempt import Try
from .hedge import race
from .tries import Tries

if TYPE_CHECKING:
    from trimtab.pipeline.core import Core


class Attempts:
    """Makes one call's attempts. It keeps none of them: an attempt knows its call, and a cycle costs."""

    __slots__ = (
        "_core",
        "_plan",
        "_retry",
        "at",
        "call_id",
        "counts",
        "kind",
        "loop",
        "now",
        "now_us",
        "outcome",
        "parsed",
        "sweeper",
        "watch",
    )

    def __init__(
        self, core: "Core", plan: Plan, parsed: Parsed, outcome: Outcome, sweeper: Sweeper, watch: Watch
    ) -> None:
        self._core = core
        self._plan = plan
        self._retry = core.state.policy.retry
        self.counts = core.counts
        self.loop = sweeper.loop
        self.now = core.clock.monotonic  # the loop's own time is rounded to milliseconds
        self.now_us = core.clock.now_us
        self.outcome = outcome
        self.parsed = parsed
        self.sweeper = sweeper
        self.watch = watch

    async def run(self, kind: CallKind, call_id: str, at: float) -> Try:
        """Try the release's model, then its fallbacks, in order; then what stands in for all of them.

        Args:
            kind: what is asked for.
            call_id: the call's id.
            at: when the call was opened, on the monotonic clock.

        Returns:
            The attempt that has the answer. `drop` it in the end.

        Raises:
            ProviderError: the last one's error.
            ClientGone: the client went away.
        """
        self.kind, self.call_id, self.at = kind, call_id, at
        plan = self._plan
        model = plan.models[0]
        model.budget.pay_in()
        if plan.guarded:
            return await self._guarded(plan)
        chosen = model.pick(self.loop.time(), stream=self.parsed.stream)
        if chosen is None or chosen[1]:
            return await self._walk(chosen)
        # The common case, without a step more than it needs: one request to a target that is well.
        attempt = Try(self, chosen[0])
        try:
            await attempt.run()
        except ProviderError as error:
            self._name(attempt.target)
            return await self._walk(chosen, error)
        except BaseException:
            self._name(attempt.target)
            raise
        self._win(attempt)
        return attempt

    def _win(self, attempt: Try) -> None:
        attempt.adopt()
        if self._plan.substituted:
            self.outcome.degraded = lesser(attempt.target)
        elif attempt.why == "degraded":
            self.outcome.degraded = True
        elif attempt.why == "stand_in":
            self.outcome.degraded = attempt.target not in self._plan.models[0].targets and lesser(
                attempt.target
            )

    def _name(self, target: Target) -> None:
        """Note whom we ask: what the record says where nobody answers."""
        self.outcome.model = target.label
        self.outcome.provider = target.provider.name

    # --- the whole way --------------------------------------------------------------------------------------

    async def _guarded(self, plan: Plan) -> Try:
        """Make a call that may be hedged, or taken over by the degraded model."""
        if plan.hedge is not None:
            plan.hedge.budget.pay_in()
        degraded = plan.degraded
        if degraded is None:
            return await self._walk(self._pick(plan.models[0]))
        self.watch.hurry(self.loop.time() + degraded.take_over_s, self._too_late)
        try:
            won = await self._walk(self._pick(plan.models[0]))
        except ProviderError as error:
            if not error.elsewhere:
                raise
            self.watch.relax()
            self.counts.add_named("fallbacks")
            return await self._take_over(degraded.model)
        self.watch.relax()
        return won

    async def _take_over(self, model: ModelPlan) -> Try:
        now = self.loop.time()
        chosen = model.pick(now, stream=self.parsed.stream) or (least_bad(model.targets, now), False)
        self.outcome.degraded = True
        return await self._try_model(model, chosen, None, "degraded")

    def _too_late(self) -> TrimtabError:
        degraded = self._plan.degraded
        assert degraded is not None, "only its calls are hurried"
        return FirstByteTimeout(
            f"nothing had answered when {degraded.model.model} took over, after {degraded.take_over_s:g} s"
        )

    async def _walk(self, chosen: tuple[Target, bool] | None, error: ProviderError | None = None) -> Try:
        """Try one model after the other.

        Args:
            chosen: the first model's target, and whether asking it is a probe; None: all of them are left alone.
            error: it was asked already, and this came of it.
        """
        last: ProviderError | None = None
        alone: list[tuple[ModelPlan, int]] = []
        """Models that were left alone, and where they stand in the plan."""
        try:
            for position, model in enumerate(self._plan.models):
                if position:
                    self.counts.add_named("fallbacks")
                    chosen, error = self._pick(model), None
                try:
                    if chosen is None:
                        alone.append((model, position))
                        raise self._all_open(model)
                    won = await self._try_model(model, chosen, error)
                except ProviderError as failed:
                    if not failed.elsewhere or self.loop.time() >= self.watch.total():
                        raise
                    last = last if last is not None and isinstance(failed, NoHealthyTarget) else failed
                else:
                    self._stand_in(won, position)
                    return won
            assert last is not None, "a plan has a model"
            if not alone or self._plan.degraded is not None or not self._core.state.tries_open:
                raise last
        finally:
            last = error = None  # what is raised holds this frame, which must not hold it
        return await self._least_bad(alone)

    def _stand_in(self, won: Try, position: int) -> None:
        """Say where the answer is of a lesser kind: `degraded_mode` is a fact of its provider."""
        if position or self._plan.substituted:
            self.outcome.degraded = lesser(won.target)

    async def _least_bad(self, alone: list[tuple[ModelPlan, int]]) -> Try:
        """All others failed, or every breaker is open: ask the least bad target, once."""
        now = self.loop.time()
        least = [(least_bad(model.targets, now), model, position) for model, position in alone]
        target, model, position = min(least, key=lambda one: one[0].health.breaker.badness(now))
        won = await self._ask(Try(self, target, probe=True), model)
        self._stand_in(won, position)
        return won

    def _pick(self, model: ModelPlan) -> tuple[Target, bool] | None:
        return model.pick(self.loop.time(), stream=self.parsed.stream)

    def _all_open(self, model: ModelPlan) -> NoHealthyTarget:
        soon_s = model.opens_in(self.loop.time())
        return NoHealthyTarget(
            f"{model.model} is left alone after its last failures, and looked at again in {soon_s:.1f} s; "
            "ask again then",
            retry_after_s=max(1.0, soon_s),
        )

    # --- one model ------------------------------------------------------------------------------------------

    async def _try_model(
        self,
        model: ModelPlan,
        chosen: tuple[Target, bool],
        error: ProviderError | None = None,
        why: str = "",
    ) -> Try:
        """Try a model's targets: an untried one at once, a tried one after a pause, and within the retry budget.

        Args:
            model: what to try.
            chosen: whom to ask first, and whether that is a probe.
            error: it was asked already, and this came of it.
            why: of its attempts; see `types.Attempt`.
        """
        tries = Tries(model, self._retry, stream=self.parsed.stream)
        target, probe = chosen
        try:
            while True:
                if error is None:
                    try:
                        return await self._ask(Try(self, target, why or _WHY[probe], probe=probe), model)
                    except ProviderError as again:
                        error = again
                if (found := await self._next(tries, target, error)) is None:
                    raise error
                (target, probe), error = found, None
                self.counts.add_named("retries")
        finally:
            error = None  # what is raised holds this frame, which must not hold it

    async def _next(self, tries: Tries, target: Target, error: ProviderError) -> tuple[Target, bool] | None:
        """Return whom to ask after a failure, once it is time; None where nobody is left."""
        now = self.loop.time()
        tries.failed(target, error, now)
        if not error.elsewhere:
            return None
        if isinstance(error, ProviderAuthFailed) and (newer := self._core.state.renewed(target)) is not None:
            return newer, False  # its key was replaced while we asked
        chosen = tries.untried(now)
        if chosen is not None:
            return None if now >= self.watch.total() else chosen
        again = tries.again(now)
        if again is None:
            return None
        pause = tries.pause_s(again, now)
        if now + pause >= self.watch.total() or not tries.budget.take(now):
            return None
        if pause > 0:
            await self._sleep(pause)
        return again, False

    async def _sleep(self, pause_s: float) -> None:
        self.watch.disarm()
        try:
            await asyncio.sleep(pause_s)
        except asyncio.CancelledError:
            self.watch.raise_for()
            raise

    async def _ask(self, attempt: Try, model: ModelPlan) -> Try:
        """Make an attempt, and where its answer is late another one beside it; return the one that answered."""
        self._name(attempt.target)
        after_s = self._patience_s(attempt)
        if after_s == inf:
            await attempt.run()
        else:
            attempt = await race(self, attempt, after_s, lambda: self._second(attempt, model))
        self._win(attempt)
        return attempt

    # --- a second request beside the first ------------------------------------------------------------------

    def _patience_s(self, attempt: Try) -> float:
        """Return after how long a second request is made beside the first; infinity: never."""
        plan, stream, health = self._plan, self.parsed.stream, attempt.target.health
        if attempt.why == "probe":
            # The call that finds out whether a target is well again must not pay for it.
            lane = health.lanes[stream]
            return min(lane.slow_s, lane.quantile_s(_PROBE_P)) if plan.several else inf
        if attempt.why or attempt.probe or plan.hedge is None:
            return inf
        rules = plan.hedge.rules
        if rules.after_ms:
            return rules.after_ms / 1000
        lane = health.lanes[stream]
        # Sooner than twice the usual is jitter, and would spend what the late ones need; what is slow waits no longer.
        return min(max(lane.quantile_s(rules.after_p), _JITTER * lane.usual_s), lane.slow_s)

    def _second(self, first: Try, model: ModelPlan) -> tuple[Target, str] | None:
        """Return whom else to ask, and why; None where there is nobody, or no budget."""
        now, stream, plan = self.loop.time(), self.parsed.stream, self._plan
        if first.why == "probe":
            for other in (model, *plan.models):
                if (found := other.well(now, but=first.target, stream=stream)) is not None:
                    return found, "stand_in"
            found = plan.degraded.model.well(now, stream=stream) if plan.degraded else None
            return None if found is None else (found, "degraded")
        if plan.hedge is None or not plan.hedge.budget.take(now):
            return None
        self.counts.add_named("hedges")
        return model.well(now, but=first.target, stream=stream) or first.target, "hedge"


def lesser(target: Target) -> bool:
    """Tell whether what stands in is of lesser quality: `degraded_mode` is a fact of its provider."""
    return bool(getattr(target.provider, "degraded_mode", False))


_WHY = ("", "probe")
_JITTER = 2.0
_PROBE_P = 0.95
"""Quantile of a target's latencies after which a probe is helped by a second request."""
