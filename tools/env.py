"""Build .venv; called by tools/env.sh with whichever Python it found, so: standard library only.

A lock on the repository's folder lets one run build while others wait. A build that was cut short leaves a
mark, and the next one starts over, since pip takes a half-written package for an installed one.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
UNFINISHED = VENV / ".unfinished"
PIP_WITH_GROUPS = (25, 1)  # the first that knows --group (PEP 735)


def main(want: str, key: str) -> int:
    """Build what `want` (run or dev) needs and stamp it with `key`."""
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another make is preparing .venv; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    if stamped(want) == key:
        return 0
    started = time.monotonic()
    try:
        build(want)
    except subprocess.CalledProcessError as error:
        say(f"could not prepare .venv: `{' '.join(map(str, error.cmd))}` ended with {error.returncode}.")
        say("What it said stands above. Mend that and run make again; `make clean` starts from nothing.")
        return 3
    for level in ("run", "dev") if want == "dev" else ("run",):
        stamp(level, key)
    UNFINISHED.unlink()
    say(f".venv is ready ({time.monotonic() - started:.0f} s)")
    return 0


def build(want: str) -> None:
    """Create or renew the environment in place."""
    if UNFINISHED.exists() or not (VENV / "bin" / "python").exists():
        shutil.rmtree(VENV, ignore_errors=True)
    fresh = not VENV.exists()
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    for old in VENV.glob(".made-for-*"):
        old.unlink()
    if fresh:
        say("preparing .venv, once; this downloads packages")
        run(sys.executable, "-m", "venv", VENV)
    what = ["--editable", ".[local]"]
    if want == "dev":
        if pip_version() < PIP_WITH_GROUPS:
            pip("install", "--upgrade", "pip")
        what += ["--group", "dev"]
    pip("install", *what)


def pip(*args: str) -> None:
    """Run the environment's own pip, quietly but for warnings."""
    run(VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", *args)


def pip_version() -> tuple[int, int]:
    """Return (major, minor) of the environment's pip."""
    python = VENV / "bin" / "python"
    text = subprocess.run(
        [python, "-m", "pip", "--version"], check=True, capture_output=True, text=True
    ).stdout
    major, minor = text.split()[1].split(".")[:2]
    return int(major), int(minor)


def run(*command: object) -> None:
    """Run a command at the root; its output is ours."""
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, stdout=sys.stderr)


def stamped(level: str) -> str:
    """Return what a level was built for, or an empty string."""
    path = VENV / f".made-for-{level}"
    return path.read_text(encoding="utf-8").strip() if path.exists() and not UNFINISHED.exists() else ""


def stamp(level: str, key: str) -> None:
    """Note what a level was built for, in one step."""
    part = VENV / f".made-for-{level}.part"
    part.write_text(key + "\n", encoding="utf-8")
    part.replace(VENV / f".made-for-{level}")


def say(text: str) -> None:
    """Tell the user, beside the output proper."""
    print(f"make: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
