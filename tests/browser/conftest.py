"""One Chromium for a file's tests; where none is installed, they are skipped, and the summary says so."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from rigs.browser import MISSING, chromium, launched


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for one file: while it runs, so does its event loop, and other tests start loops of their own."""
    path = chromium()
    if not path:
        pytest.skip(MISSING)
    with sync_playwright() as playwright, launched(playwright, path) as browser:
        yield browser


@pytest.fixture(scope="session")
def shots() -> Path | None:
    """Where pictures go: the folder that SHOTS names; else nowhere."""
    folder = os.environ.get("SHOTS", "")
    return Path(folder).absolute() if folder else None
