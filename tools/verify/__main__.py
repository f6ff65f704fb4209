"""`python -m tools.verify`: run the checks and print a line for every promise."""

import argparse
import contextlib
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.figures import machine

from .line import CannotRun, Context, Line
from .pytest_run import tested
from .table import ISSUES, Check

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 all held, 1 one did not, 3 one could not be found out."""
    parser = argparse.ArgumentParser(prog="python -m tools.verify", description=__doc__)
    parser.add_argument("--issue", type=int, choices=list(ISSUES), default=1, help="whose promises")
    parser.add_argument("--only", action="append", metavar="NAME", help="just these checks")
    parser.add_argument("--skip", action="append", metavar="NAME", default=[], help="all but these")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    checks = ISSUES[options.issue]
    if strange := sorted({*(options.only or ()), *options.skip} - set(checks)):
        parser.error(f"issue {options.issue} has no check {strange}; it has: {', '.join(checks)}")
    names = [name for name in options.only or checks if name not in options.skip]
    found: list[tuple[str, Line]] = []
    for name in names:
        say(f"{name}: {checks[name].about}")
        began = time.monotonic()
        lines = run(name, checks[name])
        found += [(name, line) for line in lines]
        if not options.json:
            for line in lines:
                print(shown(line), flush=True)
        say(f"  ({time.monotonic() - began:.0f} s)")
    outcomes = [line.outcome for _, line in found]
    if options.json:
        rows = [{"check": name, **asdict(line)} for name, line in found]
        print(json.dumps({"machine": machine(), "lines": rows}, indent=1))
    else:
        print(", ".join(f"{outcomes.count(kind)} {kind}" for kind in ("PASS", "FAIL", "NOT RUN")))
    return 1 if "FAIL" in outcomes else 3 if "NOT RUN" in outcomes else 0


def run(name: str, check: Check) -> list[Line]:
    """Run one check; a check that breaks down is a promise not found out, and the others still run."""
    with tempfile.TemporaryDirectory(prefix=f"trimtab-verify-{name}-", ignore_cleanup_errors=True) as scratch:
        context = Context(ROOT, Path(scratch), Path(sys.executable), say)
        try:
            if check.tests:
                return [tested(context, promise, arguments) for promise, arguments in check.tests]
            lines = importlib.import_module(f".checks.{check.module}", __package__).run(context)
        except CannotRun as error:
            return [Line(check.about, "NOT RUN", note=str(error))]
        except Exception as error:  # noqa: BLE001 - a check's own fault must not end the others
            return [
                Line(check.about, "NOT RUN", note=f"the check broke down: {type(error).__name__}: {error}")
            ]
        return list(lines)


def shown(line: Line) -> str:
    """One line of the report."""
    parts = [f"{line.outcome:<8}", line.promise]
    if line.figure:
        parts.append(f"{line.figure} ({line.limit})")
    if line.note:
        parts.append(line.note)
    return parts[0] + " | ".join(parts[1:])


def say(text: str) -> None:
    """Progress goes beside the report."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
