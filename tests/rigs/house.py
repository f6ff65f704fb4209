"""A whole `trimtab up` on a data folder: started, looked into from outside, killed, ended."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from trimtab.serve.runfile import ChildState, Processes, read_processes

T = TypeVar("T")
FOREIGN = ("OPENAI_", "ANTHROPIC_", "LANGCHAIN_", "LANGSMITH_", "TRIMTAB_")
CONFIG = """
[gateway]
workers = {workers}
drain_s = {drain_s}
[providers.openai]
base_url = "{upstream}"
api_key = "sk-upstream"
{provider}
[own]
enabled = {own}
"""


def until(look: Callable[[], T], what: str, patience_s: float = 30.0) -> T:
    """Look until there is something to see, and return it."""
    deadline = time.monotonic() + patience_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:g} s: {what}")
        time.sleep(0.02)
    return seen


def free_port() -> int:
    """Return a port below those that the kernel gives to outgoing connections, which could take it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie whose parent is init's business counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@dataclass
class House:
    """Everything of it stands in `home`, which is also the working directory of its processes: so they are found."""

    home: Path
    upstream: str
    workers: int = 1
    own: bool = False
    drain_s: float = 5.0
    provider: str = ""
    """More lines of the provider's section."""
    sections: str = ""
    """More of the file."""
    options: tuple[str, ...] = ()
    """More words for `trimtab up`."""
    port: int = field(default_factory=free_port, init=False)
    console_port: int = field(default_factory=free_port, init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    starts: int = field(default=0, init=False)

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> str:
        """What the processes said since the last start."""
        return (self.home / f"log-{self.starts}").read_text(errors="replace")

    def furnish(self) -> Self:
        """Write the configuration."""
        self.home.mkdir(parents=True, exist_ok=True)
        settings = {"workers": self.workers, "drain_s": self.drain_s, "upstream": self.upstream}
        text = CONFIG.format(**settings, provider=self.provider, own=str(self.own).lower()) + self.sections
        (self.home / "trimtab.toml").write_text(text)
        return self

    def start(self) -> Self:
        """Start, without waiting."""
        config = self.furnish().home / "trimtab.toml"
        self.starts += 1
        words = [Path(sys.executable).parent / "trimtab", "up", "--config", config, "--data", self.data]
        words += ["--port", self.port, "--console-port", self.console_port, *self.options]
        with (self.home / f"log-{self.starts}").open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env={k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)},
            )
        return self

    def wait_until_up(self, patience_s: float = 90.0) -> Self:
        """Wait for the start to be complete."""
        process = self.process
        assert process is not None, "start it first"
        until(lambda: "Trimtab is up" in self.log or process.poll() is not None, "it is up", patience_s)
        assert process.poll() is None, self.log
        return self

    def __enter__(self) -> Self:
        return self.start().wait_until_up()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        for pid in self.alive():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self) -> int:
        """End it in order; return the exit status."""
        assert self.process is not None, "start it first"
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def processes(self) -> Processes:
        """What `run/pids.json` says."""
        return until(lambda: read_processes(self.data / "run"), "pids.json")

    def child(self, name: str) -> ChildState:
        return next(child for child in self.processes().children if child.name == name)

    def ready_pid(self, name: str, *, but: int = 0, patience_s: float = 30.0) -> int:
        """Wait for a child to be ready, as another process than `but`; return its pid."""

        def look() -> int:
            child = self.child(name)
            return child.pid if child.ready and child.pid != but else 0

        return until(look, f"{name} is ready", patience_s)

    def alive(self) -> list[int]:
        """Pids of all that runs with this house as its working directory, whoever its parent is by now."""
        found = []
        home = self.home.resolve()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and folder.name != str(os.getpid()):
                with suppress(OSError):
                    if (folder / "cwd").readlink() == home and not is_gone(int(folder.name)):
                        found.append(int(folder.name))
        return found

    def run(self, *words: str, stdin: str = "", code: int = 0) -> str:
        """Run a `trimtab` command on this house; return what it printed, with what it complained of if it failed."""
        with self.spawn(*words) as process:
            out, err = process.communicate(stdin, timeout=300)
        assert process.returncode == code, (words, process.returncode, out, err)
        return out + err if code else out

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        """Start a `trimtab` command on this house."""
        command = [str(Path(sys.executable).parent / "trimtab"), *words, "--data", str(self.data)]
        command += ["--config", str(self.home / "trimtab.toml")]
        env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.home, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def admin(self, path: str, body: object = None, *, method: str = "", token: str = "") -> tuple[int, Any]:
        """Ask the admin API: GET, or POST where there is a body; as the installation's token where none is given."""
        token = token or (self.data / "run" / "admin.token").read_text()
        headers = {"authorization": f"Bearer {token}"}
        sent = None
        if body is not None:
            headers["content-type"] = "application/json"
            sent = json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.console_port, timeout=120)
        try:
            connection.request(
                method or ("GET" if body is None else "POST"), path, body=sent, headers=headers
            )
            reply = connection.getresponse()
            text = reply.read()
            return reply.status, json.loads(text) if text else None
        finally:
            connection.close()
