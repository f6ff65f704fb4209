"""The fuzzer itself: a short run is clean, the same seed makes the same cases, and a kept failure plays again."""

import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest

ROOT = Path(__file__).parents[2]


def fuzz(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.fuzz", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)


def test_ten_seconds_of_fuzzing_are_clean(tmp_path) -> None:
    done = fuzz("--seconds", 10, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_planted_bug_is_found_and_what_found_it_plays_again(tmp_path) -> None:
    done = fuzz("--seconds", 5, "--only", "requests", "--plant", "header-parser", "--out", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    kept = sorted(tmp_path.iterdir())[0]
    assert fuzz("--replay", kept, "--plant", "header-parser").returncode == 1
    assert fuzz("--replay", kept).returncode == 0


@pytest.mark.parametrize("name", ["requests", "streams", "segments", "configs", "snapshots"])
def test_a_seed_makes_one_case(name) -> None:
    from tools.fuzz.targets import all_targets

    [target] = [t for t in all_targets() if t.name == name]
    for n in range(20):
        one, other = (msgspec.msgpack.encode(target.make(Random(f"{name}:{n}"))) for _ in range(2))
        assert one == other


def test_every_plant_fits_the_code_as_it_is() -> None:
    from tools.fuzz.plants import PLANTS, ROOT

    assert len(PLANTS) == 10
    for plant in PLANTS:
        files = [
            (ROOT / "src" / Path(*m.split(".")).with_suffix(".py"), before) for m, before, _ in plant.places
        ]
        assert any(file.is_file() and before in file.read_text() for file, before in files), plant.name


@pytest.mark.slow
def test_nine_of_ten_planted_bugs_are_found() -> None:
    command = [sys.executable, "-m", "tools.fuzz.trial"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
