"""The room's face: all names load, nothing heavy loads before it is asked for."""

import subprocess
import sys

import pytest

import trimtab.testing


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
