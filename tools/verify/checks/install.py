"""A fresh environment with the package and without [local]: how many distributions, how large."""

import json
import subprocess
import sys
from pathlib import Path

from tools.verify.line import Context, Line, at_most

BROUGHT_BY_VENV = {"pip", "setuptools", "wheel"}


def run(context: Context) -> list[Line]:
    """Install and count."""
    place = context.scratch / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    python = place / "bin" / "python"
    before = size_mb(place)
    install = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", context.root]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    listed = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", "list", "--format=json"],
        check=True,
        capture_output=True,
        text=True,
    )
    names = sorted({one["name"] for one in json.loads(listed.stdout)} - BROUGHT_BY_VENV)
    whole = size_mb(place)
    return [
        at_most("distributions without [local]", len(names), 25, "", ", ".join(names)),
        at_most("size of the environment", whole, 150, "MB", f"{before:.0f} MB of it pip's own"),
    ]


def size_mb(place: Path) -> float:
    """Bytes of all files, in MB of 10^6."""
    return sum(p.lstat().st_size for p in place.rglob("*") if not p.is_symlink() and p.is_file()) / 1e6
