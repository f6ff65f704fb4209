"""A file system of its own for a test, so small that it can be filled."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

WHAT_IT_TAKES = (
    "a small file system takes Linux's mount, and root or user namespaces (unshare --map-root-user)"
)
_AS_ROOT = ("unshare", "--map-root-user", "--mount")


@contextmanager
def small_file_system(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a tmpfs over a folder; skips the test where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(WHAT_IT_TAKES)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def run_as_root(item: pytest.Item) -> bool:
    """Run a test in a namespace where this user is root, in a process of its own; False where it is root already."""
    if os.geteuid() == 0:
        return False
    if (
        shutil.which("unshare") is None
        or subprocess.run([*_AS_ROOT, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip(WHAT_IT_TAKES)
    command = [*_AS_ROOT, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", item.nodeid]
    done = subprocess.run(command, cwd=item.config.rootpath, capture_output=True, text=True, check=False)
    if "skipped" in done.stdout:
        pytest.skip(WHAT_IT_TAKES)
    assert done.returncode == 0, done.stdout
    return True


class Ballast:
    """A file that takes all space of a file system, and gives it back."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"

    def fill(self, but_bytes: int = 0) -> None:
        """Take all that is free, but for so many bytes."""
        with suppress(OSError), self._path.open("ab", buffering=0) as file:
            while (free := free_bytes(self._path.parent) - but_bytes) > 0:
                file.write(bytes(min(free, 1 << 20)))

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
