"""A long run: how the worker's memory moves with the number of requests."""

import math
import statistics
import time
from collections.abc import Sequence

from .contenders import Contender, trimtab
from .figures import Figure
from .loading import finish
from .procfs import memory, on_cores
from .sections import Bench
from .servers import Upstream, upstream

WARM_UP = 100_000
"""Requests before the line is fitted: pools and arenas fill first."""
LEG_S = 20.0
BLOCKS = 20
"""Samples are averaged into so many blocks before fitting: neighbours are no independent evidence."""
T_975 = 2.101
"""Student's t, 97.5 %, with BLOCKS - 2 degrees of freedom."""

Sample = tuple[float, float]
"""(requests so far, resident MB)."""


def soak(bench: Bench, requests: int) -> list[Figure]:
    """Send `requests`, watch the worker's memory, fit a line.

    Raises:
        ValueError: too few requests for a line after the warm-up.
    """
    if requests < 4 * WARM_UP:
        raise ValueError(f"--soak {requests}: a slope needs at least {4 * WARM_UP:,} requests")
    with (
        upstream(bench.folder, bench.cores) as mock,
        trimtab(bench.folder, bench.cores, mock.port) as contender,
    ):
        samples = watch(bench, mock, contender, requests)
        bench.say(f"  waiting for the rows of {bench.answers:,} answers")
        answers, bench.answers = bench.answers, 0
        bench.account(contender, answers)
    slope, half = fit([s for s in samples if s[0] >= WARM_UP])
    per = 500_000
    low, high = (slope - half) * per, (slope + half) * per
    line = f"95 % interval {low:.2f} to {high:.2f}, over {samples[-1][0]:,.0f} requests"
    peak, answered = f"peak {bench.peak_mb:.0f} MB", f"{bench.answers:,} answers"
    return [
        Figure("worker memory, slope per 500,000 requests", "Trimtab", slope * per, "MB", 1.0, note=line),
        Figure("worker memory after the soak", "Trimtab", samples[-1][1], "MB", 85, note=peak),
        Figure("errors in the soak", "Trimtab", bench.failures, "", 0, "==", answered),
        Figure("rows wrong in the soak", "Trimtab", bench.row_errors, "", 0, "==", answered),
    ]


def watch(bench: Bench, mock: Upstream, contender: Contender, requests: int) -> list[Sample]:
    """Keep the load up until `requests` are served; sample the worker's memory twice a second."""
    samples: list[Sample] = []
    served = 0
    while served < requests:
        with on_cores(set(bench.cores.load)):
            load = contender.plan(64, LEG_S).start()
        while load.poll() is None:
            served = mock.counts()[0]
            samples.append((served, memory(contender.worker).now_mb))
            time.sleep(0.5)
        result = finish(load)
        bench.answers += result.answers
        bench.failures += result.failures
        bench.say(f"  {served:,} of {requests:,}: {samples[-1][1]:.1f} MB, {result.rps:,.0f} rps")
    return samples


def fit(samples: Sequence[Sample]) -> tuple[float, float]:
    """Slope of a least-squares line in MB per request, and half its 95 % interval.

    Ordinary least squares on block means (Draper and Smith, Applied Regression Analysis, ch. 1).
    """
    size = len(samples) // BLOCKS
    if size < 1:
        raise ValueError(f"{len(samples)} samples are too few for {BLOCKS} blocks")
    blocks = [samples[i * size : (i + 1) * size] for i in range(BLOCKS)]
    x = [statistics.fmean(s[0] for s in block) for block in blocks]
    y = [statistics.fmean(s[1] for s in block) for block in blocks]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    spread = sum((xi - mean_x) ** 2 for xi in x)
    slope = sum((xi - mean_x) * (yi - mean_y) for xi, yi in zip(x, y, strict=True)) / spread
    rest = sum((yi - mean_y - slope * (xi - mean_x)) ** 2 for xi, yi in zip(x, y, strict=True))
    return slope, T_975 * math.sqrt(rest / (BLOCKS - 2) / spread)
