"""Mutants killed where a silent mistake would cost most: framing, money, stream stages."""

import re
import subprocess

from tools.verify.line import Context, Line, at_least

GROUPS = {
    "ledger framing": (
        "src/trimtab/ledger/frames.py",
        (
            "tests/unit/ledger/test_frames.py",
            "tests/unit/ledger/test_blanks.py",
            "tests/property/test_ledger_frames.py",
        ),
    ),
    "money": ("src/trimtab/types/money.py", ("tests/unit/types", "tests/property/test_money.py")),
    "stream stages": (
        "src/trimtab/pipeline/stages.py",
        ("tests/unit/pipeline/test_stages.py", "tests/property/test_stream_lanes.py"),
    ),
}
"""What is mutated, and the tests that must notice: those written for it, so that a mutant costs a second."""
LIMIT = 85
LAST = re.compile(r"^(\d+)/(\d+) killed: ([\d.]+) %", re.MULTILINE)


def run(context: Context) -> list[Line]:
    """Run tools/mutate.py on each group."""
    return [group(context, name, *where) for name, where in GROUPS.items()]


def group(context: Context, name: str, file: str, tests: tuple[str, ...]) -> Line:
    """One group's line."""
    promise = f"mutants killed in {name}"
    if missing := [path for path in tests if not (context.root / path).exists()]:
        return Line(promise, "NOT RUN", limit=f">= {LIMIT} %", note=f"{', '.join(missing)} is not there")
    done = subprocess.run(
        [context.python, "tools/mutate.py", file, "--min", str(LIMIT), "--", "pytest", *tests],
        cwd=context.root,
        capture_output=True,
        text=True,
        check=False,
    )
    found = LAST.search(done.stdout)
    if not found:
        said = (done.stdout + done.stderr).strip().splitlines()[-3:]
        return Line(promise, "NOT RUN", limit=f">= {LIMIT} %", note=" / ".join(said))
    return at_least(promise, float(found[3]), LIMIT, "%", f"{found[1]} of {found[2]}")
