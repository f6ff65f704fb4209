"""Run some tests, and make a line of their outcome."""

import re
import subprocess
from collections.abc import Sequence

from .line import Context, Line

CLOSING = re.compile(
    r"^=*\s*((\d+ (passed|failed|error|errors|skipped|deselected|xfailed|warnings?),? ?)+)in "
)


def pytest_line(context: Context, promise: str, arguments: Sequence[str], timeout_s: float = 1800) -> Line:
    """PASS where pytest passed and skipped nothing; skipped tests are promises not found out."""
    command = [context.python, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *arguments]
    done = subprocess.run(
        command, cwd=context.root, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    closing = closing_line(done.stdout)
    if done.returncode == 5:
        return Line(promise, "NOT RUN", note=f"no such tests: {' '.join(arguments)}")
    if done.returncode:
        return Line(promise, "FAIL", note="; ".join([closing, *failures(done.stdout)]))
    if "skipped" in closing:
        why = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
        return Line(promise, "NOT RUN", note="; ".join([closing, *why[:5]]))
    return Line(promise, "PASS", note=closing)


def tested(context: Context, promise: str, arguments: Sequence[str]) -> Line:
    """Run the tests that try a promise, where they exist; NOT RUN where they do not yet."""
    missing = [name for name in arguments if not (context.root / name.partition("::")[0]).exists()]
    if missing:
        return Line(promise, "NOT RUN", note=f"nobody has written {', '.join(missing)}")
    return pytest_line(context, promise, arguments)


def failures(output: str) -> list[str]:
    """The first tests that failed, as pytest's summary names them."""
    return [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))][:5]


def closing_line(output: str) -> str:
    """pytest's last line, such as `12 passed in 3.4s`."""
    for line in reversed(output.splitlines()):
        if CLOSING.match(line):
            return line.strip("= ")
    return output.strip().splitlines()[-1] if output.strip() else "pytest said nothing"
