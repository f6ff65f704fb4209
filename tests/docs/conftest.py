"""A live Trimtab for the pages to run against: real processes, a fake provider, a home of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from trimtab.testing import FakeServer

ROOT = Path(__file__).parents[2]
START_S = 60.0

CONFIG = """
[data]
dir = ".trimtab"
[gateway]
port = {gateway}
[console]
port = {console}
[own]
url = "{fake}"
model = "smollm2-135m-instruct"
[providers.openai]
base_url = "{fake}"
api_key = "${{OPENAI_API_KEY}}"
models = ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small"]
[routes.assistant]
model = "openai/gpt-4o-mini"
fallbacks = ["own/smollm2-135m-instruct"]
"""


@dataclass
class World:
    """Where the pages run."""

    folder: Path
    gateway: int
    console: int
    env: dict[str, str]

    def fit(self, text: str) -> str:
        """Let a page's addresses mean this world's."""
        return (
            text.replace("127.0.0.1:8400", f"127.0.0.1:{self.gateway}")
            .replace("127.0.0.1:8401", f"127.0.0.1:{self.console}")
            .replace("~/.local/share/trimtab", str(self.folder / ".trimtab"))
        )


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("project")
    gateway, console = free_ports()
    env = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "OPENAI_API_KEY": "sk-of-the-provider",
        "GROQ_API_KEY": "sk-of-another",
        "TRIMTAB_BASE_URL": f"http://127.0.0.1:{gateway}/v1",
        "LANG": "C.UTF-8",
    }
    (folder / "home").mkdir()
    with FakeServer(models=("smollm2-135m-instruct",)) as fake:
        config = CONFIG.format(gateway=gateway, console=console, fake=fake.base_url)
        (folder / "trimtab.toml").write_text(config)
        said = folder / "up.log"
        with said.open("wb") as log:
            up = subprocess.Popen(["trimtab", "up"], cwd=folder, env=env, stdout=log, stderr=log)
        try:
            wait_until_ready(f"http://127.0.0.1:{gateway}/readyz", up, said)
            yield World(folder, gateway, console, env)
        finally:
            up.send_signal(signal.SIGTERM)
            try:
                status = up.wait(30)
            except subprocess.TimeoutExpired:
                up.kill()
                up.wait()
                raise
    assert status == 0, said.read_text()


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def wait_until_ready(url: str, up: subprocess.Popen[bytes], said: Path) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                if reply.status == 200:
                    return
        except OSError:  # not listening yet, or 503: not ready yet
            pass
        assert up.poll() is None, said.read_text()
        assert time.monotonic() < until, f"not ready after {START_S} s:\n{said.read_text()}"
        time.sleep(0.05)
