"""Figures and the ways to print them: a table, Markdown, JSON."""

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, and the limit it stands under, if it does."""

    measure: str
    subject: str
    value: float
    unit: str
    limit: float | None = None
    holds: Literal["<=", ">=", "=="] = "<="
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the limit holds; None where there is none."""
        if self.limit is None:
            return None
        if self.holds == "<=":
            return self.value <= self.limit
        return self.value >= self.limit if self.holds == ">=" else self.value == self.limit

    @property
    def shown(self) -> str:
        """The value with three digits that say something."""
        digits = (
            0
            if abs(self.value) >= 100 or self.value == int(self.value)
            else 1
            if abs(self.value) >= 10
            else 2
        )
        return f"{self.value:,.{digits}f} {self.unit}".strip()

    @property
    def limit_shown(self) -> str:
        """The limit with its sign."""
        return "" if self.limit is None else f"{self.holds} {self.limit:,g} {self.unit}".strip()

    @property
    def verdict(self) -> str:
        """PASS, FAIL, or nothing."""
        return "" if self.passed is None else "PASS" if self.passed else "FAIL"


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cpu = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    root = Path(__file__).resolve().parent.parent
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit,
        "load_average_before": f"{os.getloadavg()[0]:.1f}",
    }


def as_markdown(figures: Sequence[Figure], about: dict[str, str]) -> str:
    """A table for docs/benchmarks.md."""
    lines = [", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.items()), ""]
    lines += ["| measure | of | figure | limit | | note |", "|---|---|---:|---|---|---|"]
    lines += [
        f"| {f.measure} | {f.subject} | {f.shown} | {f.limit_shown} | {f.verdict} | {f.note} |"
        for f in figures
    ]
    return "\n".join(lines)


def as_table(figures: Sequence[Figure], about: dict[str, str]) -> str:
    """The same for a terminal."""
    rows = [(f.measure, f.subject, f.shown, f.limit_shown, f.verdict, f.note) for f in figures]
    rows.insert(0, ("measure", "of", "figure", "limit", "", "note"))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.items()), ""]
    for row in rows:
        cells = [row[i].rjust(widths[i]) if i == 2 else row[i].ljust(widths[i]) for i in range(5)]
        lines.append("  ".join([*cells, row[5]]).rstrip())
    return "\n".join(lines)


def as_json(figures: Sequence[Figure], about: dict[str, str]) -> str:
    """The same for programs."""
    rows = [{**asdict(f), "passed": f.passed} for f in figures]
    return json.dumps({"machine": about, "figures": rows}, indent=1)
