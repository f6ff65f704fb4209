"""The reference page says what the tables of names say."""

from pathlib import Path

from tools.telemetry_page import PAGE, page


def test_the_page_is_fresh():
    assert Path(PAGE).read_text(encoding="utf-8") == page(), "run: python -m tools.telemetry_page"
