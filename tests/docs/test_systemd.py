"""The unit of docs/how-to/systemd.md, as systemd itself reads it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit_as_it_stands(tmp_path) -> None:
    page = (ROOT / "docs/how-to/systemd.md").read_text()
    [unit] = re.findall(r"^```text\n(\[Unit\]\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    # The command is not installed here; everything else is judged as written.
    assert unit.count("/opt/trimtab/bin/trimtab") == 1
    file = tmp_path / "trimtab.service"
    file.write_text(unit.replace("/opt/trimtab/bin/trimtab", shutil.which("true") or "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False
    )
    about_it = [line for line in (done.stdout + done.stderr).splitlines() if "trimtab" in line]
    assert (done.returncode, about_it) == (0, [])
