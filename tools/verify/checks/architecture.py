"""The architecture tests, and how many broad excepts there are."""

from tools.verify.line import Context, Line
from tools.verify.pytest_run import pytest_line


def run(context: Context) -> list[Line]:
    """Run tests/architecture."""
    promise = "rooms, sizes, import contracts, dependencies, public face"
    return [pytest_line(context, promise, ["tests/architecture"])]
