"""The plugin table."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab import plugins
from trimtab.types import ConfigError

GROUP = "trimtab.providers"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with plugins, as pip leaves it."""
    info = tmp_path / "acme_things-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Acme_Things\nVersion: 1.0\nProvides-Extra: big\n"
    )
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\nacme = acme_things_module:made\nneedy = acme_needy_module:made [big]\n"
        "bare = acme_gone_module:made\nwrong = acme_things_module:nothing\n"
    )
    (tmp_path / "acme_things_module.py").write_text("made = 'a thing'\n")
    (tmp_path / "acme_needy_module.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def test_built_ins_and_plugins_stand_in_one_table(package: Path) -> None:
    found = plugins.entries(GROUP)
    assert {"openai", "own", "fake", "acme", "needy"} <= set(found)
    assert found["acme"] == plugins.Entry("acme_things_module:made", "")
    assert found["needy"] == plugins.Entry("acme_needy_module:made", "acme-things[big]")
    assert "acme_things_module" not in sys.modules
    assert plugins.load(GROUP, "acme") == "a thing"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'opnai' is not installed; known: .*openai"):
        plugins.load(GROUP, "opnai")


def test_an_unknown_group_lists_the_groups() -> None:
    with pytest.raises(ConfigError, match=r"no plugin group.*trimtab\.providers"):
        plugins.entries("trimtab.nonsense")


def test_a_missing_extra_is_answered_with_the_pip_line(package: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'acme-things\[big\]'"):
        plugins.load(GROUP, "needy")


def test_a_broken_package_is_named(package: Path) -> None:
    with pytest.raises(ConfigError, match=r"reinstall the package of 'acme_gone_module:made'"):
        plugins.load(GROUP, "bare")
    with pytest.raises(ConfigError, match=r"does not exist"):
        plugins.load(GROUP, "wrong")


def test_two_packages_that_claim_one_name_are_refused(package: Path) -> None:
    info = package / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nacme = other_module:made\n")
    with pytest.raises(ConfigError, match="claimed by"):
        plugins.load(GROUP, "acme")
