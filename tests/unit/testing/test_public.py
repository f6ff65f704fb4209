"""The room's face: all names load, nothing heavy loads before it is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

import trimtab.testing
from trimtab.testing.__main__ import main

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "test-against-a-fake-provider.md"


@pytest.mark.parametrize("name", trimtab.testing.__all__)
def test_every_public_name_loads_and_is_documented(name):
    thing = getattr(trimtab.testing, name)
    assert name == "FAULTS" or thing.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = trimtab.testing.nothing


def test_importing_the_room_loads_nothing_of_it():
    code = "import sys, trimtab.testing; print([m for m in sys.modules if m.startswith('trimtab.testing.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("fault", trimtab.testing.FAULTS.values(), ids=lambda f: f.name)
def test_the_page_tells_of_every_fault_what_the_table_says(fault):
    row = next(r for r in PAGE.read_text().splitlines() if r.startswith(f"| `{fault.name}` |"))
    assert f"| {fault.what} |" in row
    codes = row.split("|")[5]
    assert codes.split("`")[1::2] == list(fault.expect)
    assert f"| {fault.rescue if fault.expect else '-'} |" in row
    assert fault.note in PAGE.read_text()


def test_the_command_lists_every_fault_and_refuses_others(capsys):
    assert main(["--faults"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(trimtab.testing.FAULTS)
    with pytest.raises(SystemExit) as stopped:
        main(["--fault", "no_such"])
    assert stopped.value.code == 2
