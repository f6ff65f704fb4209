"""Each test runs on uvloop and on asyncio's own loop, which is what serves where uvloop is not installed."""

from collections.abc import Callable

import pytest

from rigs.http_server import Main, run_on


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Run a coroutine function to its end."""
    return lambda main: run_on(request.param, main)
