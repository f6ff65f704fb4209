"""The measurements. Every one reads clocks and counts at the same two instants, inside the load's run."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .accounting import Rows, await_rows
from .contenders import Contender
from .loading import LoadResult, finish
from .procfs import Cores, cpu_ns, on_cores
from .servers import Upstream

SETTLE_S = 1.3
"""From a load's start to the first reading: its own warm-up takes one second."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of the serving process at saturation."""

    per_request_us: float
    per_event_us: float
    """Per streamed event; 0 where nothing was streamed."""
    busy: float
    """Share of its core that it used, 0 to 1. Below about 0.8 it was not saturated: the cost reads high."""
    rate: float
    """Requests a second in the window."""
    load: LoadResult


def saturate(
    contender: Contender,
    upstream: Upstream,
    cores: Cores,
    *,
    connections: int,
    seconds: float,
    stream: bool = False,
) -> Cost:
    """Run a closed loop and charge the worker's CPU time to what the upstream served meanwhile."""
    with on_cores(set(cores.load)):
        load = contender.plan(connections, seconds + SETTLE_S, stream=stream).start()
    time.sleep(SETTLE_S)
    began, cpu0, (requests0, events0) = time.monotonic(), cpu_ns(contender.worker), upstream.counts()
    time.sleep(seconds)
    ended, cpu1, (requests1, events1) = time.monotonic(), cpu_ns(contender.worker), upstream.counts()
    result = finish(load)
    requests, events, cpu_us = requests1 - requests0, events1 - events0, (cpu1 - cpu0) / 1e3
    if not requests:
        raise RuntimeError(f"{contender.name} passed no request upstream while it was measured")
    return Cost(
        per_request_us=cpu_us / requests,
        per_event_us=cpu_us / events if events else 0.0,
        busy=cpu_us / 1e6 / (ended - began),
        rate=requests / (ended - began),
        load=result,
    )


@dataclass(frozen=True, slots=True)
class FullCost:
    """What a run cost the worker, and all processes until every row was stored and searchable."""

    worker: Cost
    tree_us: float
    """CPU time of the whole process tree per answer, from before the first request."""
    rows: Rows
    caught_up_s: float
    """From the last answer to the last row's being searchable."""


def saturate_and_store(
    contender: Contender, upstream: Upstream, cores: Cores, *, connections: int, seconds: float, before: int
) -> FullCost:
    """Saturate, wait for the rows, and charge everything the processes did to the answers.

    `before` is how many rows stood in the store already.
    """
    if contender.data is None:
        raise ValueError(f"{contender.name} keeps no rows to wait for")
    cpu0 = contender.tree_ns()
    cost = saturate(contender, upstream, cores, connections=connections, seconds=seconds)
    last_answer = time.monotonic()
    rows = await_rows(contender.data, before + cost.load.answers, timeout_s=120)
    caught_up = time.monotonic() - last_answer
    tree_us = (contender.tree_ns() - cpu0) / 1e3 / cost.load.answers
    return FullCost(worker=cost, tree_us=tree_us, rows=rows, caught_up_s=caught_up)


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians over rounds, in ms."""

    p50_ms: float
    p99_ms: float
    answers: int
    failures: int


def latencies(
    contenders: Sequence[Contender], cores: Cores, *, rounds: int, seconds: float, rate: float = 200
) -> dict[str, Latency]:
    """Ask each in turn, round after round, so that a neighbour's noise falls on all alike."""
    seen: dict[str, list[LoadResult]] = {c.name: [] for c in contenders}
    for turn in range(rounds):
        shift = turn % len(contenders)
        for contender in (*contenders[shift:], *contenders[:shift]):
            with on_cores(set(cores.load)):
                load = contender.plan(16, seconds, rate=rate).start()
            seen[contender.name].append(finish(load))
    return {
        name: Latency(
            p50_ms=statistics.median(r.p50_ms for r in results),
            p99_ms=statistics.median(r.p99_ms for r in results),
            answers=sum(r.answers for r in results),
            failures=sum(r.failures for r in results),
        )
        for name, results in seen.items()
    }
