"""How long one target takes: what balancing, hedging and the judgement "slow" go by.

Source of the peak-EWMA: Finagle's `loadbalancer/PeakEwma` (twitter.github.io/finagle): an average that jumps up with a
slow answer and falls back over seconds. The usual time is a running median in steps (a stochastic approximation:
H. Robbins, S. Monro, 1951): one step up or down a sample, so that no outlier moves it by more than a step.
"""

import math
from collections import deque

_TAU_S = 20.0
"""Time constant of the fall."""
_KEPT = 128
"""Latencies that quantiles are taken from."""
_LEARN = 16
"""Answers before anything is called slow."""
_STEP = 1.02
"""At a fivefold pace it takes some 80 answers until that pace is the usual one."""
_FLOOR_S = 0.1
"""Nothing below this is called slow: a scheduler's hiccup takes as long."""
_EVERY = 16
"""Answers after which quantiles, and what is slow, are taken anew."""
_exp = math.exp


class Latency:
    """Latencies of one kind of answer: whole, or to a stream's first content. Some 0.4 µs an answer."""

    __slots__ = (
        "_at",
        "_due",
        "_ewma_s",
        "_factor",
        "_most_s",
        "_quantile",
        "_recent",
        "answers",
        "slow_s",
        "usual_s",
    )

    def __init__(self) -> None:
        self.answers = 0
        self.slow_s = math.inf
        """From which duration on an answer is slow; infinity while too little is known."""
        self._factor = 0.0
        self._most_s = math.inf
        self.usual_s = 0.0
        self._ewma_s = 0.0
        self._at = 0.0
        self._recent: deque[float] = deque(maxlen=_KEPT)
        self._quantile = (0.0, 0.0)
        self._due = 0

    def obey(self, factor: float, most_s: float) -> None:
        """Judge by these from now on: `factor` times the usual is slow, and so is `most_s`; 0: not judged by it."""
        self._factor = factor
        self._most_s = most_s or math.inf
        self._judge()

    def took(self, seconds: float, now: float) -> None:
        """Note an answer."""
        ewma = self._ewma_s
        if seconds < ewma:
            self._ewma_s = seconds + (ewma - seconds) * _exp((self._at - now) / _TAU_S)
        else:
            self._ewma_s = seconds
        self._at = now
        self._recent.append(seconds)
        self.answers = answers = self.answers + 1
        if answers <= _LEARN:
            # The mean of the first few, then steps.
            self.usual_s += (seconds - self.usual_s) / answers
        elif seconds > self.usual_s:
            self.usual_s *= _STEP
        else:
            self.usual_s /= _STEP
        if not answers % _EVERY:
            self._judge()

    def _judge(self) -> None:
        most = self._most_s
        if self._factor and self.answers >= _LEARN:
            most = min(most, max(_FLOOR_S, self._factor * self.usual_s))
        self.slow_s = most

    def settle(self, seconds: float, now: float) -> None:
        """Let a good probe's latency stand for all before it: what was slow then is over."""
        self._ewma_s, self._at = seconds, now

    def late(self, seconds: float, now: float) -> None:
        """Note an answer that is not there after so many seconds: balancing need not wait to learn it."""
        if seconds > self._ewma_s:
            self._ewma_s, self._at = seconds, now

    def ewma_s(self, now: float) -> float:
        """Return the peak-EWMA, fallen since the last answer; 0 where there was none."""
        return self._ewma_s * math.exp((self._at - now) / _TAU_S) if self._ewma_s else 0.0

    def quantile_s(self, p: float) -> float:
        """Return a quantile of the last answers, taken anew every few; infinity before there are enough.

        Args:
            p: 0 to 1.
        """
        if self.answers < _LEARN:
            return math.inf
        if self._quantile[0] != p or self.answers >= self._due:
            self._due = self.answers + _EVERY
            self._quantile = (p, self.percentile(p))
        return self._quantile[1]

    def percentile(self, p: float) -> float:
        """Return a quantile of the last answers (nearest rank); 0 where there are none. Sorts 128 numbers at most."""
        found = sorted(self._recent)
        return found[min(len(found) - 1, int(p * len(found)))] if found else 0.0
