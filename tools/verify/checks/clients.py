"""Real clients, unchanged, against the gateway."""

from tools.verify.line import Context, Line
from tools.verify.pytest_run import pytest_line


def run(context: Context) -> list[Line]:
    """Run tests/e2e/test_clients.py."""
    promise = "the openai client and LangChain's ChatOpenAI run unchanged"
    return [pytest_line(context, promise, ["tests/e2e/test_clients.py"])]
