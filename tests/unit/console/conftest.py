"""The console over made-up data."""

import pytest

from rigs.browse import Browser, signed_in
from rigs.console_up import console_over
from rigs.fake_control import FakeControl
from rigs.sample_day import empty_control, full_control


@pytest.fixture
def control() -> FakeControl:
    return full_control(120)


@pytest.fixture
def app(control):
    return console_over(control)


@pytest.fixture
def stranger(app) -> Browser:
    return Browser(app)


@pytest.fixture
def admin(app, control) -> Browser:
    return signed_in(app, control, "admin")


@pytest.fixture
def editor(app, control) -> Browser:
    return signed_in(app, control, "editor")


@pytest.fixture
def viewer(app, control) -> Browser:
    return signed_in(app, control, "viewer")


@pytest.fixture
def empty() -> Browser:
    control = empty_control()
    return signed_in(console_over(control), control, "admin")
