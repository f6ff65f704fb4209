"""What is measured: something that listens on a port, and the processes whose CPU time is counted."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .loading import LoadPlan
from .procfs import Cores, free_port, pin, process_cpu_ns, tree
from .servers import await_http, nginx, running

CHAT = "/v1/chat/completions"


def probe(model: str = "gpt-4o-mini") -> bytes:
    """Return a request's body, to see that a contender answers."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "warm up"}]}).encode()


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
    headers: tuple[str, ...] = ()
    """Sent with each request besides the load generator's own."""

    def plan(self, connections: int, seconds: float, *, rate: float = 0.0, stream: bool = False) -> LoadPlan:
        """A load on it."""
        return LoadPlan(self.port, self.path, connections, seconds, rate, stream, self.model, self.headers)

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
        await_http(f"http://127.0.0.1:{port}{CHAT}", pid, log, data=probe())
        yield Contender(Path(words[min(1, len(words) - 1)]).name, port, pid, pid)


CONFIG = """
[providers.openai]
base_url = "{scheme}://127.0.0.1:{upstream}/v1"
api_key = "sk-x"
{ca}
[own]
enabled = false
"""

RULES = """
[limits.each-key]
per = "key"
requests_per_minute = 100_000_000
tokens_per_minute = 10_000_000_000
concurrency = 10_000

[budgets.company]
amount_usd = 100_000_000.0
period = "month"

[routes.chat]
model = "openai/gpt-4o-mini"

[routes.other]
model = "openai/gpt-4o"
"""
"""A limit on requests, tokens and calls at once, a budget and two routes: none of them ever refuses anything here."""


@contextmanager
def trimtab(
    folder: Path, cores: Cores, upstream_port: int, ca_file: Path | None = None, *, rules: str = ""
) -> Iterator[Contender]:
    """Trimtab as a user runs it: supervisor, one worker, recorder, control, on a data folder of its own.

    With `rules`, the text of more configuration, calls come with a key and go to `route/chat`.
    """
    home = folder / (f"trimtab-{upstream_port}" + ("-rules" if rules else ""))
    data = home / "data"
    home.mkdir()
    config = home / "trimtab.toml"
    ca = f'ca_file = "{ca_file}"' if ca_file else ""
    scheme = "https" if ca_file else "http"
    config.write_text(CONFIG.format(scheme=scheme, upstream=upstream_port, ca=ca) + rules)
    port, console = free_port(), free_port()
    program = Path(sys.executable).parent / "trimtab"
    words = [program, "up", "--config", config, "--data", data]
    words += ["--port", port, "--console-port", console, "--workers", 1]
    log = home / "out.log"
    with running(words, cores.rest, log, env=clean_environment()) as pid:
        await_http(f"http://127.0.0.1:{port}/readyz", pid, log)
        worker = await_worker(data)
        pin(worker, set(cores.worker))
        model = "route/chat" if rules else "gpt-4o-mini"
        await_http(f"http://127.0.0.1:{port}{CHAT}", pid, log, data=probe(model))
        more: dict[str, Any] = {}
        if rules:
            made = command_line("keys", "create", "bench", "--data", data, "--json")
            more = {"model": model, "headers": (f"x-api-key: {made['key']}",)}
        yield Contender("Trimtab", port, worker, pid, data=data, **more)


def command_line(*words: object) -> dict[str, Any]:
    """Run one of Trimtab's own commands, and return the JSON it prints."""
    program = Path(sys.executable).parent / "trimtab"
    ran = subprocess.run(
        [str(program), *map(str, words)], env=clean_environment(), capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def clean_environment() -> dict[str, str]:
    """Return ours, without what would configure a Trimtab or a provider."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "TRIMTAB_"))}


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
