"""The reference page says what the code does."""

import re
from pathlib import Path

from trimtab.config import load_config, reference_page, tables

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text("utf-8") == reference_page(), (
        "run: python -m trimtab.config > docs/reference/configuration.md"
    )


def test_every_setting_is_described() -> None:
    settings = [setting for table in tables() for setting in table.settings]
    assert len(settings) > 40
    for setting in settings:
        assert setting.description.endswith("."), f"[{setting.table}] {setting.name} lacks a sentence"
        assert setting.takes
    assert all(table.description for table in tables())


def test_the_example_on_the_page_can_be_used(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", reference_page(), re.DOTALL)
    path = tmp_path / "trimtab.toml"
    path.write_text(example)
    config = load_config(path, env={"HOME": "/home/x"})
    assert [route.name for route in config.routes] == ["support"]
