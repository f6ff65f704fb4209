"""deploy/trimtab.service, as systemd itself reads it."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit_as_it_stands(tmp_path) -> None:
    unit = (ROOT / "deploy/trimtab.service").read_text()
    # The command is not installed here; everything else is judged as written.
    assert unit.count("/opt/trimtab/bin/trimtab") == 1
    file = tmp_path / "trimtab.service"
    file.write_text(unit.replace("/opt/trimtab/bin/trimtab", shutil.which("true") or "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False
    )
    about_it = [line for line in (done.stdout + done.stderr).splitlines() if "trimtab" in line]
    assert (done.returncode, about_it) == (0, [])


def test_the_unit_gives_away_nothing_that_it_need_not() -> None:
    unit = (ROOT / "deploy/trimtab.service").read_text().splitlines()
    for option in (
        "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes",
        "CapabilityBoundingSet=", "RestrictNamespaces=yes", "SystemCallFilter=@system-service", "UMask=0077",
    ):  # fmt: skip
        assert option in unit
