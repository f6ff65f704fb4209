"""`tools/env.sh`, which `make up` and `make test` stand on: side by side, cut short, and repeated."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPEATED_LIMIT_S = 0.3


@pytest.fixture
def checkout(tmp_path):
    """What a build of the environment needs, without an environment."""
    place = tmp_path / "checkout"
    place.mkdir()
    for name in ("tools", "src"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, place / name)
    return place


def start(checkout: Path, level: str = "run") -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["tools/env.sh", level], cwd=checkout, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def works(checkout: Path) -> bool:
    done = subprocess.run([checkout / ".venv/bin/trimtab", "--version"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.slow
def test_two_at_once_build_one_environment(checkout):
    both = [start(checkout), start(checkout)]
    said = [one.communicate(timeout=300)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sum("is ready" in text for text in said) == 1, said
    assert sum("waiting for it" in text for text in said) == 1, said
    assert works(checkout)

    began = time.monotonic()
    again = start(checkout)
    said = again.communicate(timeout=30)[1]
    assert time.monotonic() - began < REPEATED_LIMIT_S
    assert (again.returncode, said) == (0, "")


@pytest.mark.slow
def test_a_build_that_was_killed_is_started_over(checkout):
    first = start(checkout)
    deadline = time.monotonic() + 120
    installing = checkout / ".venv/lib"
    while not list(installing.glob("python*/site-packages/msgspec*")):
        assert time.monotonic() < deadline
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    first.stderr.close()
    assert (checkout / ".venv/.unfinished").exists()

    second = start(checkout)
    said = second.communicate(timeout=300)[1]
    assert second.returncode == 0, said
    assert works(checkout)
    assert not (checkout / ".venv/.unfinished").exists()


def test_without_a_usable_python_it_says_what_to_do(checkout, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "cksum", "cat", "pwd", "sed"):
        (tools / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        ["/bin/sh", "tools/env.sh", "run"],
        cwd=checkout,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Python 3.11 or newer" in done.stderr
    assert "apt install" in done.stderr
