"""A long run under fire: providers that fail in every way, reloads, rotations of keys. Nothing may be lost or stuck."""

import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from .accounting import await_rows
from .contenders import RULES, Contender, command_line, trimtab
from .figures import Figure
from .loading import LoadPlan, LoadResult, finish
from .procfs import memory, on_cores
from .sections import PROBES, Bench
from .servers import Upstream, upstream
from .soak import WARM_UP, Sample, fit

LEG_S = 30.0
EVERY_S = 10.0
"""How often keys are rotated and the configuration is read again."""
_ESTABLISHED = "01"

PROVIDER = """
[providers.{name}]
base_url = "{url}"
api_key = "${{file:{secret}}}"
models = ["fake-1"]
deadlines = {{ connect_s = 0.5, first_byte_s = 1.0, idle_s = 1.0, total_s = 20.0 }}

[routes.storm-{name}]
model = "{name}/fake-1"
fallbacks = ["openai/gpt-4o-mini"]
"""
"""One provider with one fault, and a route that goes there first."""

WATCHED = """
[reload]
watch = true

[limits.turned]
per = "project"
requests_per_minute = {number}
"""


@dataclass(slots=True)
class Mischief:
    """Rotates keys and changes the configuration beside the load, until it is stopped."""

    config: Path
    secret: Path
    data: Path
    reloads: int = 0
    rotations: int = 0
    problems: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Make mischief as long as this is entered."""
        thread = threading.Thread(target=self._run, name="mischief")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        plain = self.config.read_text()
        turn = 0
        while not self._over.wait(EVERY_S):
            turn += 1
            try:
                _put(self.secret, f"sk-rotated-{turn}")
                _put(
                    self.config,
                    plain.replace("100_000_999", f"{100_000_999 + turn}"),
                )
                command_line("config", "reload", "--data", self.data, "--config", self.config, "--json")
                self.reloads += 1
                made = command_line("keys", "create", f"turn-{turn}", "--data", self.data, "--json")
                command_line("keys", "revoke", made["id"], "--data", self.data, "--json")
                self.rotations += 2
            except subprocess.CalledProcessError as error:
                self.problems.append(f"{error.cmd[1:3]}: {error.stderr.strip()[-300:]}")


def storm(bench: Bench, requests: int) -> list[Figure]:
    """Send `requests` under fire, watch memory and books.

    Raises:
        ValueError: too few requests for a line after the warm-up.
    """
    if requests < 4 * WARM_UP:
        raise ValueError(f"{requests} requests: a slope needs at least {4 * WARM_UP:,}")
    with ExitStack() as stack:
        mock = stack.enter_context(upstream(bench.folder, bench.cores))
        secret = bench.folder / "secret"
        _put(secret, "sk-rotated-0")
        faulty = stack.enter_context(_faulty())
        rules = RULES + WATCHED.format(number="100_000_999") + _providers(faulty, secret)
        contender = stack.enter_context(trimtab(bench.folder, bench.cores, mock.port, rules=rules))
        assert contender.data is not None, "Trimtab keeps rows"
        mischief = Mischief(contender.data.parent / "trimtab.toml", secret, contender.data)
        with mischief.going_on():
            samples, answers, failures = _legs(bench, mock, contender, list(faulty), requests)
        stuck = _stuck(contender)
        bench.say(f"  waiting for the rows of {answers:,} answers")
        rows = await_rows(contender.data, answers + failures + PROBES, timeout_s=300)
    for problem in mischief.problems:
        bench.say(f"  {problem}")
    slope, half = fit([s for s in samples if s[0] >= WARM_UP])
    per = 500_000
    note = (
        f"95 % interval {(slope - half) * per:.2f} to {(slope + half) * per:.2f}; {mischief.reloads} reloads, "
        f"{mischief.rotations} keys made or revoked, {len(faulty)} faults"
    )
    lost = max(answers + PROBES - rows.stored, 0) + rows.unindexed
    return [
        Figure("requests under fire", "Trimtab", answers + failures, "", requests, ">="),
        Figure(
            "memory slope per 500,000 requests under fire",
            "Trimtab",
            (slope + half) * per,
            "MB",
            1.0,
            note=note,
        ),
        Figure("calls that a healthy fallback did not rescue", "Trimtab", failures, "", 0, "=="),
        Figure("rows lost or not searchable", "Trimtab", lost, "", 0, "==", f"{rows.stored:,} rows"),
        Figure("connections or calls stuck after it", "Trimtab", stuck, "", 0, "=="),
        Figure("reloads and rotations refused", "Trimtab", len(mischief.problems), "", 0, "=="),
    ]


def _put(path: Path, text: str) -> None:
    """Replace a file in one step."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


@contextmanager
def _faulty() -> Iterator[dict[str, str]]:
    """Serve every fault that a healthy fallback must rescue; yield their base URLs by name."""
    from trimtab.testing import FAULTS, FakeServer, Scale

    scale = Scale(
        stall_s=3.0, drip_s=0.001, drip_bytes=64, settle_s=0.02, retry_after_s=0.5, huge_bytes=2_000_000
    )
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(FakeServer(fault=fault, scale=scale)).base_url
            for name, fault in FAULTS.items()
            if fault.rescuable("whole") and "whole" in fault.lanes and not fault.passes
        }


def _providers(faulty: Mapping[str, str], secret: Path) -> str:
    return "".join(PROVIDER.format(name=name, url=url, secret=secret) for name, url in faulty.items())


def _legs(
    bench: Bench, mock: Upstream, contender: Contender, faults: list[str], requests: int
) -> tuple[list[Sample], int, int]:
    """Keep the load up until so many requests are served; return memory over requests, answers, failures."""
    samples: list[Sample] = []
    answers = failures = served = 0
    while answers + failures < requests:
        plans = [
            contender.plan(32, LEG_S),
            contender.plan(4, LEG_S, stream=True),
            *(replace(contender.plan(1, LEG_S), model=f"route/storm-{name}") for name in faults),
        ]
        with on_cores(set(bench.cores.load)):
            loads = [plan.start() for plan in plans]
        while any(load.poll() is None for load in loads):
            served = mock.counts()[0]
            samples.append((served, memory(contender.worker).now_mb))
            time.sleep(0.5)
        results = [finish(load) for load in loads]
        answers += sum(result.answers for result in results)
        failures += sum(result.failures for result in results)
        _say_failures(bench, plans, results)
        bench.say(f"  {answers:,} of {requests:,}: {samples[-1][1]:.1f} MB, {failures} failures")
    return samples, answers, failures


def _say_failures(bench: Bench, plans: list[LoadPlan], results: list[LoadResult]) -> None:
    for plan, result in zip(plans, results, strict=True):
        if result.failures:
            bench.say(f"  {plan.model}: {result.failures} of {result.answers + result.failures} failed")


def _stuck(contender: Contender) -> int:
    """Return how many connections of callers, and calls, are still open a few seconds after the last load has gone."""
    deadline = time.monotonic() + 10
    while True:
        left = _open_connections(contender.port) + _in_flight(contender.port)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def _open_connections(port: int) -> int:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[1].partition(":")[2], 16) == port and row[3] == _ESTABLISHED for row in rows)


def _in_flight(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        for line in reply.read().decode().splitlines():
            if line.startswith("trimtab_in_flight"):
                return int(float(line.rpartition(" ")[2])) - 1  # the one that asks
    raise RuntimeError("/metrics names no trimtab_in_flight")
