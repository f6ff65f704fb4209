"""The import contracts of pyproject.toml, and what is declared as a dependency."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def run(root: Path, *command: str) -> str:
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=root, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def test_rooms_import_only_downwards(root):
    assert "0 broken" in run(root, "lint-imports", "--no-cache")


def test_every_dependency_is_declared_and_used(root):
    assert "No dependency issues found" in run(root, "deptry", ".")


def test_every_core_dependency_has_a_reason_in_the_decision_record(root):
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [line.split(";")[0].split("=")[0].rstrip("<>~! ").strip() for line in declared]
    record = (root / "docs/adr/0002-core-dependencies.md").read_text()
    missing = [name for name in names if f"**{name}**" not in record]
    assert not missing, f"docs/adr/0002-core-dependencies.md gives no reason for {missing}"
    named = {line.split("**")[1] for line in record.splitlines() if line.startswith("| **")}
    assert named == set(names), f"no longer dependencies: {sorted(named - set(names))}"


def test_core_dependencies_are_few(root):
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(declared) <= 12


@pytest.mark.parametrize("contract", ["layers", "forbidden"])
def test_contracts_of_each_kind_are_there(root, contract):
    found = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert contract in {one["type"] for one in found}
