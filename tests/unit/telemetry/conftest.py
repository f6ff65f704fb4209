import asyncio
import inspect

import pytest

from rigs.collector import Collector
from trimtab.telemetry import SinkContext
from trimtab.testing import FrozenClock


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run tests that are coroutines, each on a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def collector():
    with Collector() as running:
        yield running
    assert not running.problems


@pytest.fixture
def context():
    return SinkContext(
        name="otlp",
        env={"SECRET": "s3cret"},
        clock=FrozenClock(),
        instance="0198e2a0-0000-7000-8000-000000000001",
        version="0",
    )
