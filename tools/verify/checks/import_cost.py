"""What `import trimtab` costs, over a bare interpreter."""

import subprocess

from tools.verify.line import Context, Line, at_most
from tools.verify.pytest_run import pytest_line

TRIES = 9
CLOCK = "import resource as r; a = r.getrusage(r.RUSAGE_SELF); print(a.ru_utime + a.ru_stime)"


def run(context: Context) -> list[Line]:
    """Measure, and run the test that watches what importing touches."""
    bare = min(cpu_s(context, CLOCK) for _ in range(TRIES))
    loaded = min(cpu_s(context, f"import trimtab; {CLOCK}") for _ in range(TRIES))
    client = min(cpu_s(context, f"from trimtab import Client; {CLOCK}") for _ in range(TRIES))
    note = f"with Client {client - bare:.3f} s"
    return [
        at_most("import trimtab, CPU over a bare interpreter", loaded - bare, 0.15, "s", note),
        pytest_line(
            context, "importing opens no file, socket or process", ["tests/architecture/test_import.py"]
        ),
    ]


def cpu_s(context: Context, program: str) -> float:
    """User and system time that a program says it took."""
    done = subprocess.run([context.python, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)
