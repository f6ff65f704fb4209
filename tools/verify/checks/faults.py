"""Every named upstream fault against the real gateway."""

from tools.verify.line import Context, Line, at_least
from tools.verify.pytest_run import pytest_line
from trimtab.testing import FAULTS


def run(context: Context) -> list[Line]:
    """Count the faults, and run tests/e2e/test_faults.py."""
    promise = f"{len(FAULTS)} upstream faults: rescued or an explicit error, recorded as what they were"
    return [
        at_least("upstream faults", len(FAULTS), 25, "", ", ".join(sorted(FAULTS))),
        pytest_line(context, promise, ["tests/e2e/test_faults.py"]),
    ]
