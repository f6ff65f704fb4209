"""The sections of `bench.gateway`: each starts what it needs, measures, and returns figures."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import contenders, phases
from .accounting import await_rows
from .contenders import Contender
from .figures import Figure
from .procfs import Cores, memory
from .servers import Upstream, make_certificate, nginx, upstream

PROBES = 1
"""Calls made by ourselves before the load, to see that a contender answers: one row each."""


@dataclass(slots=True)
class Bench:
    """Settings, and what all sections add to."""

    folder: Path
    cores: Cores
    seconds: float = 4.0
    rounds: int = 3
    with_trimtab: bool = True
    with_nginx: bool = True
    command: str = ""
    """Another gateway: a command line with {port} and {upstream}."""
    rules: str = ""
    """More configuration of Trimtab's: keys, limits, budgets and routes in force."""
    say: Callable[[str], None] = print
    failures: int = 0
    row_errors: int = 0
    answers: int = 0
    resident_mb: float = 0.0
    peak_mb: float = 0.0
    notes: list[str] = field(default_factory=list)

    def limit(self, plain: float) -> float:
        """Return a limit: what it is plain, and 15 % more where rules are in force."""
        return round(plain * 1.15, 2) if self.rules else plain

    @contextmanager
    def opened(
        self, mock: Upstream, *, ca_file: Path | None = None, via: int = 0
    ) -> Iterator[list[Contender]]:
        """Start every contender in front of `via`, or of the mock itself."""
        port = via or mock.port
        with ExitStack() as stack:
            found: list[Contender] = []
            if self.with_nginx and not ca_file:
                found.append(stack.enter_context(contenders.nginx_proxy(self.folder, self.cores, port)))
            if self.command and not ca_file:
                found.append(
                    stack.enter_context(contenders.command(self.folder, self.cores, port, self.command))
                )
            if self.with_trimtab:
                found.append(self._trimtab(stack, port, ca_file))
            yield found

    def _trimtab(self, stack: ExitStack, port: int, ca_file: Path | None) -> Contender:
        return stack.enter_context(
            contenders.trimtab(self.folder, self.cores, port, ca_file, rules=self.rules)
        )

    def account(self, contender: Contender, answers: int) -> None:
        """Compare Trimtab's rows with the answers that the load generator counted, once all load is over."""
        if contender.data is None:
            return
        rows = await_rows(contender.data, answers + PROBES, timeout_s=120)
        self.answers += answers
        self.row_errors += abs(rows.stored - answers - PROBES) + rows.unindexed
        seen = memory(contender.worker)
        self.resident_mb = max(self.resident_mb, seen.now_mb)
        self.peak_mb = max(self.peak_mb, seen.peak_mb)


def plain(bench: Bench) -> list[Figure]:
    """CPU per request of the worker and of the whole tree, at saturation."""
    worker: dict[str, list[float]] = {}
    tree: list[float] = []
    lag: list[float] = []
    busy: dict[str, list[float]] = {}
    with upstream(bench.folder, bench.cores) as mock, bench.opened(mock) as all_of_them:
        answers = 0
        for _ in range(bench.rounds):
            for c in all_of_them:
                if c.data is None:
                    cost = phases.saturate(c, mock, bench.cores, connections=64, seconds=bench.seconds)
                else:
                    full = phases.saturate_and_store(
                        c, mock, bench.cores, connections=64, seconds=bench.seconds, before=answers + PROBES
                    )
                    cost = full.worker
                    answers += cost.load.answers
                    tree.append(full.tree_us)
                    lag.append(full.caught_up_s)
                    bench.failures += cost.load.failures
                worker.setdefault(c.name, []).append(cost.per_request_us)
                busy.setdefault(c.name, []).append(cost.busy)
                bench.say(
                    f"  {c.name}: {cost.per_request_us:.1f} µs, {cost.rate:,.0f} rps, busy {cost.busy:.0%}"
                )
        for c in all_of_them:
            bench.account(c, answers)
    figures = [
        Figure(
            "worker CPU per request, plain",
            name,
            statistics.median(values),
            "µs",
            bench.limit(160) if name == "Trimtab" else None,
            note=f"{min(values):.0f} to {max(values):.0f}; {statistics.median(busy[name]):.0%} of its core",
        )
        for name, values in worker.items()
    ]
    if tree:
        note = f"searchable {max(lag):.1f} s after the last answer"
        figures.append(
            Figure(
                "process tree CPU per request",
                "Trimtab",
                statistics.median(tree),
                "µs",
                bench.limit(400),
                note=note,
            )
        )
    return figures


def tls(bench: Bench) -> list[Figure]:
    """CPU per request of the worker where the upstream speaks TLS."""
    certificate = make_certificate(bench.folder)
    with (
        upstream(bench.folder, bench.cores) as mock,
        nginx(bench.folder, bench.cores.load, mock.port, certificate) as terminator,
        bench.opened(mock, ca_file=certificate.ca, via=terminator.port) as found,
    ):
        return [
            Figure(
                "worker CPU per request, TLS upstream",
                c.name,
                _median_cost(bench, c, mock)[0],
                "µs",
                bench.limit(200),
            )
            for c in found
        ]


def streams(bench: Bench) -> list[Figure]:
    """CPU per streamed event of the worker: 128 streams, 2 ms between events."""
    with upstream(bench.folder, bench.cores, gap_us=2000) as mock, bench.opened(mock) as found:
        return [
            Figure(
                "worker CPU per streamed chunk",
                c.name,
                _median_cost(bench, c, mock, connections=128, stream=True)[1],
                "µs",
                bench.limit(22) if c.name == "Trimtab" else None,
            )
            for c in found
        ]


def _median_cost(
    bench: Bench, contender: Contender, mock: Upstream, *, connections: int = 64, stream: bool = False
) -> tuple[float, float]:
    costs = [
        phases.saturate(
            contender, mock, bench.cores, connections=connections, seconds=bench.seconds, stream=stream
        )
        for _ in range(bench.rounds)
    ]
    for cost in costs:
        bench.say(
            f"  {contender.name}: {cost.per_request_us:.1f} µs a request, {cost.per_event_us:.2f} µs "
            f"an event, {cost.rate:,.0f} rps, busy {cost.busy:.0%}"
        )
    if contender.data is not None:
        bench.failures += sum(cost.load.failures for cost in costs)
        bench.account(contender, sum(cost.load.answers for cost in costs))
    return statistics.median(c.per_request_us for c in costs), statistics.median(
        c.per_event_us for c in costs
    )


def latency(bench: Bench) -> list[Figure]:
    """Latency at 200 requests a second, and what is added to the floor beside what nginx adds."""
    figures: list[Figure] = []
    with upstream(bench.folder, bench.cores) as mock, bench.opened(mock) as found:
        asked = [contenders.floor(mock.port), *found]
        seen = phases.latencies(asked, bench.cores, rounds=max(5, bench.rounds), seconds=bench.seconds)
        for c in found:
            if c.data is not None:
                bench.failures += seen[c.name].failures
                bench.account(c, seen[c.name].answers)
    for name, one in seen.items():
        figures.append(Figure("p50 at 200 rps", name, one.p50_ms, "ms"))
        figures.append(Figure("p99 at 200 rps", name, one.p99_ms, "ms"))
    if "nginx" in seen and "Trimtab" in seen:
        base = seen["upstream alone"].p50_ms
        ratio = (seen["Trimtab"].p50_ms - base) / (seen["nginx"].p50_ms - base)
        figures.append(
            Figure("p50 added to the floor, beside nginx's", "Trimtab", ratio, "×", bench.limit(3.5))
        )
    return figures


def books(bench: Bench) -> list[Figure]:
    """Memory, errors and rows over all sections that ran; call it last."""
    if not bench.with_trimtab:
        return []
    note, peak = f"{bench.answers:,} answers", f"peak {bench.peak_mb:.0f} MB"
    return [
        Figure(
            "worker memory after load",
            "Trimtab",
            bench.resident_mb,
            "MB",
            bench.limit(85),
            note=peak,
        ),
        Figure("errors", "Trimtab", bench.failures, "", 0, "==", note),
        Figure("rows missing, extra or not searchable", "Trimtab", bench.row_errors, "", 0, "==", note),
    ]


SECTIONS: dict[str, Callable[[Bench], list[Figure]]] = {
    "plain": plain,
    "tls": tls,
    "streams": streams,
    "latency": latency,
}
"""In the order they run; `books` closes the account after them."""
