"""`make sbom`: write sbom.json, what is installed in an environment, as CycloneDX 1.6 JSON.

The environment is .venv unless `--python` names another's interpreter: for a bill of a deployment, name that one's.
"""

import argparse
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Write the bill; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="interpreter of the environment"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "sbom.json")
    options = parser.parse_args()
    tool = Path(sysconfig.get_path("scripts")) / "cyclonedx-py"
    command = [
        tool,
        "environment",
        "--pyproject",
        ROOT / "pyproject.toml",
        "--output-reproducible",
        "--short-PURLs",
    ]
    command += ["--sv", "1.6", "--of", "JSON", "--output-file", options.out, options.python]
    return subprocess.run([str(word) for word in command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
