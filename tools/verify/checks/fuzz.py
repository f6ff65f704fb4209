"""Fuzzing: ten minutes that must be clean, and the trial that says what the fuzzer is worth."""

import re
import subprocess

from tools.verify.line import Context, Line, at_least

SECONDS = 600
PLANTED, LEAST = 10, 9


def run(context: Context) -> list[Line]:
    """Fuzz, then the trial."""
    return [clean(context), trial(context)]


def clean(context: Context) -> Line:
    """Ten minutes on every reader of foreign bytes."""
    promise = f"make fuzz is clean for {SECONDS // 60} minutes"
    command = [context.python, "-m", "tools.fuzz", "--seconds", str(SECONDS), "--out", str(context.scratch)]
    done = subprocess.run(command, cwd=context.root, capture_output=True, text=True, check=False)
    if (found := re.search(r"^seed (\d+)", done.stdout)) is None:
        return Line(promise, "NOT RUN", note=(done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    cases = sum(int(n) for n in re.findall(r"^\w+ +(\d+) cases$", done.stdout, re.MULTILINE))
    note = f"{cases:,} cases, seed {found[1]}"
    if done.returncode == 0:
        return Line(promise, "PASS", note=note)
    kept = re.findall(r"^again: (.+)$", done.stdout, re.MULTILINE)
    return Line(promise, "FAIL", note=f"{note}; {'; '.join(kept[:3]) or 'it ended by itself'}")


def trial(context: Context) -> Line:
    """How many of the planted bugs are found."""
    promise = "planted bugs that make fuzz finds"
    command = [context.python, "-m", "tools.fuzz.trial"]
    done = subprocess.run(command, cwd=context.root, capture_output=True, text=True, check=False)
    found = re.search(r"^(\d+) of (\d+) found$", done.stdout, re.MULTILINE)
    if found is None:
        return Line(promise, "NOT RUN", note=(done.stdout.strip().splitlines() or ["it said nothing"])[-1])
    return at_least(promise, float(found[1]), LEAST, f"of {PLANTED}", "")
