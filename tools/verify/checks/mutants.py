"""Mutants killed where a silent mistake would cost most: framing, money, stream stages."""

import re
import subprocess

from tools.verify.line import Context, Line, at_least

GROUPS = {
    "ledger framing": (("src/trimtab/ledger/frames.py",), "tests/unit/ledger"),
    "money": (("src/trimtab/types/money.py",), "tests/unit/types"),
    "stream stages": (("src/trimtab/pipeline/stages.py",), "tests/unit/pipeline"),
}
LIMIT = 85
LAST = re.compile(r"^(\d+)/(\d+) killed: ([\d.]+) %", re.MULTILINE)


def run(context: Context) -> list[Line]:
    """Run tools/mutate.py on each group."""
    return [group(context, name, *where) for name, where in GROUPS.items()]


def group(context: Context, name: str, files: tuple[str, ...], tests: str) -> Line:
    """One group's line."""
    promise = f"mutants killed in {name}"
    if not (context.root / tests).is_dir():
        return Line(promise, "NOT RUN", limit=f">= {LIMIT} %", note=f"{tests} is not there")
    done = subprocess.run(
        [context.python, "tools/mutate.py", *files, "--min", str(LIMIT), "--", "pytest", tests],
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
