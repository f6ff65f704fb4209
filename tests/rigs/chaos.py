"""Processes of a running house killed under load, and what is left of the calls."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trimtab.testing import FakeServer

from .audit import Audit, audit
from .caller import Question, Seen, call
from .house import House, is_gone, until
from .traffic import Asker, Traffic, answer, usage_of

OWN_MODEL = "own/smollm2-135m-instruct"
_CALLERS = 12


def askers(*, own: bool) -> list[Asker]:
    """Who calls meanwhile: half of them streams, some without asking for usage; one the own model."""
    return [Asker(_question)] * _CALLERS + ([Asker(_to_own, 0.3)] if own else [])


def _question(number: int) -> Question:
    marker = f"call {number}"
    return Question(marker, stream=number % 2 == 0, wants_usage=number % 4 == 0, usage=usage_of(marker))


def _to_own(number: int) -> Question:
    return Question(f"own {number}", stream=number % 2 == 0, model=OWN_MODEL, max_tokens=6)


@dataclass
class Report:
    """What was done, and what came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    back_s: list[float] = field(default_factory=list)
    """From each kill to all processes being ready again."""
    start_s: list[float] = field(default_factory=list)
    """From each start after all processes were gone to readiness."""
    problems: list[str] = field(default_factory=list)
    audit: Audit = field(default_factory=Audit)

    def __str__(self) -> str:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        slowest = (
            f"slowest restart {max(self.back_s, default=0):.1f} s, slowest start {max(self.start_s):.1f} s"
        )
        return f"kills: {kills}; {self.audit}; {slowest}"


class Chaos:
    """One run: kills under load, then a stop in order, then the audit."""

    def __init__(self, home: Path, *, own: bool, seed: int) -> None:
        self._upstream = FakeServer(script=answer)
        self._home = home
        self._own = own
        self._random = random.Random(seed)
        self.report = Report()
        self.seen: list[Seen] = []
        """What became of every call, once the run is over."""

    def run(self, single: int, all_at_once: int, say: Callable[[str], None] = lambda _text: None) -> Report:
        """Kill one random process `single` times, and all of them `all_at_once` times."""
        rounds = ["all at once"] * all_at_once + self._victims(single)
        self._random.shuffle(rounds)
        with self._upstream:
            house = self.house = House(self._home, self._upstream.base_url, workers=2, own=self._own)
            try:
                self._start()
                with Traffic(house.port, askers(own=self._own)) as load:
                    for number, victim in enumerate(rounds, 1):
                        time.sleep(self._random.uniform(0.1, 0.9))
                        self._strike(victim)
                        if number % 10 == 0:
                            say(f"  {number} of {len(rounds)} rounds, {len(load.seen)} calls")
                    time.sleep(0.5)  # the last round's house gets some load too
                self.seen = load.seen
                self._end()
            finally:
                house.__exit__()
        return self.report

    def _victims(self, count: int) -> list[str]:
        kinds = ["worker", "recorder", "supervisor", *(["model"] if self._own else [])]
        return [kinds[n % len(kinds)] for n in range(count)]

    def _strike(self, victim: str) -> None:
        self.report.kills[victim] += 1
        if victim == "all at once":
            self._kill_all()
        elif victim == "supervisor":
            self._kill_supervisor()
        else:
            name = self._random.choice(["worker-1", "worker-2"]) if victim == "worker" else victim
            self._kill_child(name)

    def _kill_child(self, name: str) -> None:
        old = until(lambda: self.house.child(name).pid, f"{name} runs")
        began = time.monotonic()
        os.kill(old, signal.SIGKILL)
        if self._random.random() < 0.7:  # else the next kill may strike while this one is mended
            self.house.ready_pid(name, but=old)
            self.report.back_s.append(time.monotonic() - began)

    def _kill_supervisor(self) -> None:
        house = self.house
        assert house.process is not None, "it was started"
        orphans = house.alive()
        house.process.kill()
        house.process.wait()
        if self._random.random() < 0.5:  # else the start itself waits for those that are ending
            until(lambda: not house.alive(), "the orphans end by themselves")
        self._start()
        self.report.problems += [f"pid {pid} outlived its supervisor" for pid in orphans if not is_gone(pid)]

    def _kill_all(self) -> None:
        house = self.house
        assert house.process is not None, "it was started"
        for pid in house.alive():
            os.kill(pid, signal.SIGKILL)
        house.process.wait()
        until(lambda: not house.alive(), "all are gone")
        self._start()

    def _start(self) -> None:
        house = self.house
        began = time.monotonic()
        house.start().wait_until_up()
        self.report.start_s.append(time.monotonic() - began)
        if self._own:
            marker = f"first {house.starts}"
            asyncio.run(call(house.port, Question(marker, model=OWN_MODEL, max_tokens=2)))
            house.ready_pid("model")

    def _end(self) -> None:
        house, report = self.house, self.report
        status = house.stop()
        if status:
            report.problems.append(f"the last stop ended with {status}")
        report.problems += [f"pid {pid} stayed behind" for pid in house.alive()]
        report.problems += [f"left in run/: {path.name}" for path in (house.data / "run").iterdir()]
        report.problems += [f"set aside: {path.name}" for path in (house.data / "log").glob("*.damaged")]
        for log in sorted(self._home.glob("log-*")):
            text = log.read_text(errors="replace")
            if "Traceback" in text:
                report.problems.append(f"{log.name}: {text[text.index('Traceback') :][:2000]}")
        asked = {seen.json()["messages"][-1]["content"] for seen in self._upstream.requests}
        report.audit = audit(house.data, self.seen, sorted(asked))
        report.problems += report.audit.problems
