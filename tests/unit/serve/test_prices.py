"""The installation's own price table, and the history of those in force."""

from pathlib import Path

import msgspec
import pytest

from trimtab.catalog import Catalog
from trimtab.serve import install_prices, price_history
from trimtab.serve.data import layered, note_in_force
from trimtab.types import ConfigError


def table(version: str, price: str) -> bytes:
    prices = [{"from": "2026-01-01", "input": price, "output": "2"}]
    return msgspec.json.encode(
        {"version": version, "models": {"acme/x": {"prices": prices}, "acme/y": {"like": "acme/x"}}}
    )


def test_overrides_lie_over_the_installations_table_and_that_over_the_packaged(tmp_path: Path) -> None:
    assert layered(tmp_path, {}) == {}
    install_prices(tmp_path, table("t", "1"))
    over = {"models": {"acme/x": {"prices": [{"from": "2026-01-01", "input": "7", "output": "2"}]}}}
    at = 1_795_000_000_000_000
    for overrides, price in (({}, 1), (over, 7)):
        catalog = Catalog.load(layered(tmp_path, overrides))
        assert catalog.price("acme/x", at).input == catalog.price("acme/y", at).input == price * 10**9
        assert catalog.price("openai/gpt-4o", at) == Catalog.load().price("openai/gpt-4o", at)
        assert catalog.version.startswith("t-")


def test_a_table_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    install_prices(tmp_path, table("t", "1"))
    with pytest.raises(ConfigError):
        install_prices(tmp_path, b'{"models": {"acme": {}}}')
    assert Catalog.load(layered(tmp_path, {})).version.startswith("t-")


def test_the_history_has_a_line_for_each_table_that_came_into_force(tmp_path: Path) -> None:
    for at_us, overrides in ((1, {}), (2, {}), (3, {"version": "mine"}), (4, {"version": "mine"})):
        note_in_force(tmp_path, overrides, layered(tmp_path, overrides), at_us)
    install_prices(tmp_path, table("t", "1"))
    note_in_force(tmp_path, {}, layered(tmp_path, {}), 5)
    with (tmp_path / "catalog" / "history.jsonl").open("ab") as out:
        out.write(b'{"cut')
    past = price_history(tmp_path)
    assert [entry.at_us for entry in past] == [1, 3, 5]
    assert [bool(entry.table_sha256) for entry in past] == [False, False, True]
    assert [bool(entry.overrides_sha256) for entry in past] == [False, True, False]
    assert len({entry.version for entry in past}) == 3
    assert {entry.packaged_sha256 for entry in past} == {past[0].packaged_sha256}
