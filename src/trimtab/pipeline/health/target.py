"""A target, what has been seen of it, and the choice among those that serve one model."""

import math
import random
from collections.abc import Collection, Sequence

import msgspec

from trimtab.types import Breaker as Rules
from trimtab.types import Deadlines, Provider, ProviderError, TargetHealth, TargetSpec

from .board import Board
from .breaker import Breaker
from .latency import Latency

_encode = msgspec.json.Encoder().encode
_COOL_S = 1.0
"""How long others are preferred after a failure, before any breaker judges."""
_COOL_MAX_S = 30.0
_TWO_OF = 8
"""From so many targets on, the better one of two drawn at random is taken, not the best of all."""
_SOMETIME_S = 1.0
"""Latency that is supposed while nothing is known of any target of a model."""
NOBODY: frozenset[int] = frozenset()


class Health:
    """What one process has seen of a target. It outlives generations, and the provider's keys."""

    __slots__ = (
        "breaker",
        "calls",
        "cool_until",
        "failed",
        "lanes",
        "last_error",
        "last_error_us",
        "rules",
    )

    def __init__(self, label: str, rules: Rules, board: Board) -> None:
        self.breaker = Breaker(label, rules, board)
        self.lanes = (Latency(), Latency())
        """Of whole answers, and of streams up to the first content."""
        self.cool_until = 0.0
        """Loop time until which other targets are preferred."""
        self.calls = 0
        self.failed = 0
        self.last_error = ""
        self.last_error_us = 0
        self.obey(rules)

    def obey(self, rules: Rules) -> None:
        """Judge by other rules from now on."""
        self.rules = rules
        self.breaker.obey(rules)
        for lane in self.lanes:
            lane.obey(rules.slow_factor if rules.enabled else 0.0, rules.slow_s)

    def note_error(self, error: ProviderError, now: float, now_us: int) -> None:
        """Keep what went wrong, and prefer others for a while: as long as the provider asked for, or a second."""
        self.failed += 1
        self.last_error = error.code
        self.last_error_us = now_us
        asked = error.retry_after_s or 0.0
        self.cool_until = now + min(_COOL_MAX_S, max(_COOL_S, asked))


class Target:
    """One way to serve a model."""

    __slots__ = ("deadlines", "health", "in_flight", "label", "model_json", "name", "provider")

    def __init__(self, provider: Provider, spec: TargetSpec, deadlines: Deadlines, health: Health) -> None:
        self.provider = provider
        self.name = spec.model
        self.model_json = msgspec.Raw(_encode(spec.model))
        self.label = f"{spec.provider}/{spec.model}"
        self.deadlines = deadlines
        self.health = health
        self.in_flight = 0

    def seen(self, now: float) -> TargetHealth:
        """Return what is known of it, for people. Sorts 128 numbers twice."""
        health = self.health
        state, left = health.breaker.state(now)
        busy = max(health.lanes, key=lambda lane: lane.answers)
        return TargetHealth(
            target=self.label,
            provider=self.provider.name,
            breaker=state,
            reopens_s=round(left, 3),
            calls=health.calls,
            failed=health.failed,
            bad_share=round(health.breaker.share(), 4),
            in_flight=self.in_flight,
            p50_ms=round(busy.percentile(0.5) * 1000, 3),
            p95_ms=round(busy.percentile(0.95) * 1000, 3),
            ewma_ms=round(busy.ewma_s(now) * 1000, 3),
            opened=health.breaker.opened,
            last_error=health.last_error,
            last_error_us=health.last_error_us,
        )


def choose(
    targets: Sequence[Target],
    now: float,
    avoid: Collection[int] = NOBODY,
    *,
    stream: bool = False,
) -> tuple[Target, bool] | None:
    """Choose whom to ask: a target whose breaker wants a probe, else of the closed ones the cheapest.

    The cost of one is its peak-EWMA latency x (calls in flight + 1).

    Args:
        targets: those that serve the model.
        now: the loop's time.
        avoid: `id`s of targets to leave out.
        stream: whether a stream is wanted.

    Returns:
        The target, and whether asking it is a probe; None where all are avoided or open.
    """
    fit: list[Target] = []
    for target in targets:
        if id(target) in avoid:
            continue
        breaker = target.health.breaker
        if breaker.closed:
            fit.append(target)
        elif breaker.claim(now):
            return target, True
    if not fit:
        return None
    if len(fit) == 1:
        return fit[0], False
    if len(fit) >= _TWO_OF:
        fit = random.sample(fit, 2)
    known = [cost for target in fit if (cost := _ewma_s(target, now, stream=stream))]
    guess = sum(known) / len(known) if known else _SOMETIME_S
    best, least = fit[0], (math.inf, math.inf)
    for target in fit:
        ewma = _ewma_s(target, now, stream=stream) or guess
        rank = (max(0.0, target.health.cool_until - now), ewma * (target.in_flight + 1))
        if rank < least:
            best, least = target, rank
    return best, False


def soonest(targets: Sequence[Target], now: float) -> Target:
    """Return the target whose breaker wants a probe soonest."""
    return min(targets, key=lambda target: target.health.breaker.state(now)[1])


def least_bad(targets: Sequence[Target], now: float) -> Target:
    """Return the target to ask where all are open: what opened a moment ago is likelier well than what never closes."""
    return min(targets, key=lambda target: target.health.breaker.badness(now))


def _ewma_s(target: Target, now: float, *, stream: bool) -> float:
    whole, streamed = target.health.lanes
    first, second = (streamed, whole) if stream else (whole, streamed)
    return first.ewma_s(now) or second.ewma_s(now)
