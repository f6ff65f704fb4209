"""`python -m bench.peers`: the same load on Trimtab, LiteLLM and TensorZero, one core each."""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import contenders, phases
from bench.accounting import await_rows, count_rows
from bench.contenders import Contender
from bench.figures import Figure, as_json, as_markdown, as_table, machine
from bench.loading import Missing
from bench.procfs import Cores
from bench.servers import Upstream, upstream

from .servers import litellm, tensorzero

Start = Callable[[Path, Cores, int, Callable[[str], None]], AbstractContextManager[Contender]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway to compare with."""

    start: Start
    connections: int
    """Enough to saturate it, few enough that it answers within seconds."""
    at_least: float
    """How many times Trimtab's CPU time its own must be."""


PEERS = {"litellm": Peer(litellm, 16, 90.0), "tensorzero": Peer(tensorzero, 64, 2.0)}


def measure(only: Sequence[str], rounds: int, seconds: float, say: Callable[[str], None]) -> list[Figure]:
    """CPU per request of each at saturation, and the ratios.

    Raises:
        Missing: gcc is not installed.
        RuntimeError: a peer could not be installed or started.
    """
    cores = Cores.of_this_machine()
    with tempfile.TemporaryDirectory(prefix="trimtab-peers-") as name, ExitStack() as stack:
        folder = Path(name)
        mock = stack.enter_context(upstream(folder, cores))
        ours = stack.enter_context(contenders.trimtab(folder, cores, mock.port))
        costs = {ours.name: run(ours, mock, cores, rounds=rounds, seconds=seconds, connections=64, say=say)}
        limits = {}
        for key in only:
            peer = PEERS[key]
            with peer.start(folder, cores, mock.port, say) as other:
                costs[other.name] = run(
                    other,
                    mock,
                    cores,
                    rounds=rounds,
                    seconds=seconds * 2,
                    connections=peer.connections,
                    say=say,
                )
                limits[other.name] = peer.at_least
        # Once more at the end: what drifted meanwhile shows in the range.
        costs[ours.name] += run(ours, mock, cores, rounds=rounds, seconds=seconds, connections=64, say=say)
    own = statistics.median(costs[ours.name])
    figures = [
        Figure(
            "worker CPU per request, plain",
            name,
            statistics.median(values),
            "µs",
            note=f"{min(values):,.0f} to {max(values):,.0f}; {1e6 / statistics.median(values):,.0f} rps/core",
        )
        for name, values in costs.items()
    ]
    figures += [
        Figure("times Trimtab's CPU", name, statistics.median(costs[name]) / own, "×", limit, ">=")
        for name, limit in limits.items()
    ]
    return figures


def run(
    contender: Contender,
    mock: Upstream,
    cores: Cores,
    *,
    rounds: int,
    seconds: float,
    connections: int,
    say: Callable[[str], None],
) -> list[float]:
    """CPU µs per request, round by round."""
    values = []
    before = count_rows(contender.data).stored if contender.data else 0
    for _ in range(rounds):
        cost = phases.saturate(contender, mock, cores, connections=connections, seconds=seconds)
        if cost.load.failures:
            raise RuntimeError(
                f"{contender.name} failed {cost.load.failures} of {cost.load.answers} requests"
            )
        values.append(cost.per_request_us)
        if contender.data:  # what follows must not share the machine with the recorder
            before = await_rows(contender.data, before + cost.load.answers, timeout_s=120).stored
        say(f"  {contender.name}: {cost.per_request_us:,.1f} µs, {cost.rate:,.0f} rps, busy {cost.busy:.0%}")
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit codes as in bench.gateway."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(PEERS), help="just these peers")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each measurement (default 2)")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured seconds a round (default 4)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args(arguments)
    about = machine()
    try:
        figures = measure(options.only or list(PEERS), options.rounds, options.seconds, say)
    except (Missing, RuntimeError) as error:
        print(f"peers: {error}", file=sys.stderr)
        return 3
    print((as_json if options.json else as_markdown if options.markdown else as_table)(figures, about))
    return 1 if any(f.passed is False for f in figures) else 0


def say(text: str) -> None:
    """Progress goes beside the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
