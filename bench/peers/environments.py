"""Environments of the peers: made once from a lock file with hashes, and again when it changes."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parent / ".peers"


def environment(name: str, say: Callable[[str], None]) -> Path:
    """Return the bin folder of a peer's environment, made where it is not there yet. Downloads then.

    Raises:
        RuntimeError: pip could not install exactly what the lock file says.
    """
    lock_file = HERE / f"{name}.lock.txt"
    wanted = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    place = HOME / name
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{name}.busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        stamp = place / "lock.sha256"
        if not stamp.exists() or stamp.read_text() != wanted:
            say(f"  preparing {name} in {place.relative_to(HERE.parent.parent)}, once; this downloads it")
            shutil.rmtree(place, ignore_errors=True)
            install(place, lock_file)
            stamp.write_text(wanted)
    return place / "bin"


def install(place: Path, lock_file: Path) -> None:
    """Make an environment with exactly the locked files."""
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip = [place / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    done = subprocess.run(
        [*pip, "--require-hashes", "--no-deps", "-r", lock_file], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"pip could not install {lock_file.name}:\n{done.stderr[-2000:]}")
