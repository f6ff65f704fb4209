"""`make lock`: write requirements.lock, exact versions of what the core needs, with a hash of every file of each.

    pip install --require-hashes --no-deps -r requirements.lock && pip install --no-deps trimtab

installs those bytes or nothing. The registry is asked; versions that are locked already stay unless `--upgrade` is
given. `--check` asks nobody: it compares the lock with pyproject.toml, as a test does.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
_PIN = re.compile(r"^([a-z0-9-]+)==([^ ]+)", re.MULTILINE)


def requirements() -> list[str]:
    """Return the core's dependencies as pyproject.toml declares them."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def mark() -> str:
    """Return the line that says what a lock was made from."""
    digest = hashlib.sha256(json.dumps(sorted(requirements())).encode()).hexdigest()
    return f"# Made by `make lock`; of dependencies with the SHA-256 {digest}"


def problems(text: str) -> list[str]:
    """Return what is wrong with a lock; nothing where it fits."""
    found = []
    if text.partition("\n")[0] != mark():
        found.append("pyproject.toml's dependencies have changed since: run `make lock`")
    pins = {canonicalize_name(name): version for name, version in _PIN.findall(text)}
    for declared in map(Requirement, requirements()):
        pinned = pins.get(canonicalize_name(declared.name))
        if pinned is None:
            found.append(f"{declared.name} is not locked")
        elif pinned not in declared.specifier:
            found.append(f"{declared.name} is locked at {pinned}, and {declared.specifier} is declared")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    found += [f"{b.split()[0]} has no hash" for b in blocks if "--hash=sha256:" not in b]
    return found


def main() -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where the lock does not fit"
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions that pyproject.toml allows"
    )
    options = parser.parse_args()
    if not options.check:
        uv = Path(sysconfig.get_path("scripts")) / "uv"
        env = os.environ | ({"SSL_CERT_FILE": os.environ["PIP_CERT"]} if "PIP_CERT" in os.environ else {})
        command = [
            uv,
            "pip",
            "compile",
            "pyproject.toml",
            "--quiet",
            "--universal",
            "--python-version",
            "3.11",
        ]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--output-file", LOCK]
        command += ["--upgrade"] if options.upgrade else []
        subprocess.run([str(word) for word in command], cwd=ROOT, env=env, check=True)
        LOCK.write_text(f"{mark()}\n{LOCK.read_text()}")
    wrong = problems(LOCK.read_text())
    for problem in wrong:
        print(f"requirements.lock: {problem}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
