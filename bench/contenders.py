"""What is measured: something that listens on a port, and the processes whose CPU time is counted."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .loading import LoadPlan
from .procfs import Cores, free_port, pin, process_cpu_ns, tree
from .servers import await_http, nginx, running

CHAT = "/v1/chat/completions"
PROBE = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "warm up"}]}).encode()


@dataclass(frozen=True, slots=True)
class Contender:
    """One server under test."""

    name: str
    port: int
    worker: int
    """Pid of the process that serves the port; 0 for the upstream itself."""
    root: int = 0
    """Pid of the process that started it all."""
    path: str = CHAT
    model: str = "gpt-4o-mini"
    data: Path | None = field(default=None)
    """Trimtab's data folder."""

    def plan(self, connections: int, seconds: float, *, rate: float = 0.0, stream: bool = False) -> LoadPlan:
        """A load on it."""
        return LoadPlan(self.port, self.path, connections, seconds, rate, stream, self.model)

    def tree_ns(self) -> int:
        """CPU time of all its processes, in ns."""
        return sum(process_cpu_ns(pid) for pid in tree(self.root or self.worker))


def floor(upstream_port: int) -> Contender:
    """The upstream itself: what the load and the mock cost without anybody between them."""
    return Contender("upstream alone", upstream_port, worker=0)


@contextmanager
def nginx_proxy(folder: Path, cores: Cores, upstream_port: int) -> Iterator[Contender]:
    """nginx as a reverse proxy that logs every request's body as JSON."""
    with nginx(folder, cores.worker, upstream_port) as proxy:
        yield Contender("nginx", proxy.port, proxy.worker)


@contextmanager
def command(folder: Path, cores: Cores, upstream_port: int, template: str) -> Iterator[Contender]:
    """Any other gateway of one process: a command line with {port} and {upstream} in it."""
    port = free_port()
    log = folder / "command.log"
    words = [part.format(port=port, upstream=upstream_port) for part in template.split()]
    with running(words, cores.worker, log) as pid:
        await_http(f"http://127.0.0.1:{port}{CHAT}", pid, log, data=PROBE)
        yield Contender(Path(words[min(1, len(words) - 1)]).name, port, pid, pid)


CONFIG = """
[providers.openai]
base_url = "{scheme}://127.0.0.1:{upstream}/v1"
api_key = "sk-x"
{ca}
[own]
enabled = false
"""


@contextmanager
def trimtab(
    folder: Path, cores: Cores, upstream_port: int, ca_file: Path | None = None
) -> Iterator[Contender]:
    """Trimtab as a user runs it: supervisor, one worker, recorder, control, on a data folder of its own."""
    home = folder / f"trimtab-{upstream_port}"
    data = home / "data"
    home.mkdir()
    config = home / "trimtab.toml"
    ca = f'ca_file = "{ca_file}"' if ca_file else ""
    config.write_text(CONFIG.format(scheme="https" if ca_file else "http", upstream=upstream_port, ca=ca))
    port, console = free_port(), free_port()
    words = [Path(sys.executable).parent / "trimtab", "up", "--config", config, "--data", data]
    words += ["--port", port, "--console-port", console, "--workers", 1]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "TRIMTAB_"))}
    log = home / "out.log"
    with running(words, cores.rest, log, env=clean) as pid:
        await_http(f"http://127.0.0.1:{port}/readyz", pid, log)
        worker = await_worker(data)
        pin(worker, set(cores.worker))
        await_http(f"http://127.0.0.1:{port}{CHAT}", pid, log, data=PROBE)
        yield Contender("Trimtab", port, worker, pid, data=data)


def await_worker(data: Path, timeout_s: float = 20) -> int:
    """Pid of the one worker, from run/pids.json."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            children = json.loads((data / "run" / "pids.json").read_text())["children"]
        except (FileNotFoundError, ValueError):
            children = []
        for child in children:
            if child["name"].startswith("worker") and child["pid"] and child.get("ready", True):
                return int(child["pid"])
        time.sleep(0.05)
    raise RuntimeError(f"{data}/run/pids.json names no ready worker after {timeout_s:.0f} s")
