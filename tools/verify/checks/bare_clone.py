"""A bare clone, without root, with empty data and caches: `make up` twice, then `make test`."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.procfs import free_port

from tools.verify.line import CannotRun, Context, Line, at_most, held
from tools.verify.pytest_run import closing_line, failures

FIRST_LIMIT_S, SECOND_LIMIT_S, TEST_LIMIT_S = 90, 10, 480
GIVE_UP_S = 300
NOBODY = 65534
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
KEPT = ("PIP_", "SSL_", "LANG", "LC_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy")
QUESTION = "What is the capital of France?"


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody who has just cloned: no root where we can help it, an empty home, empty caches."""

    clone: Path
    home: Path
    user: int | None
    """None: ourselves."""

    def environment(self) -> dict[str, str]:
        """Nothing of ours but how packages are fetched."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
        path = SYSTEM_PATH if self.user is not None else os.environ["PATH"]
        return kept | {"PATH": path, "HOME": str(self.home), "PIP_CACHE_DIR": str(self.home / "pip-cache")}

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Run a command in the clone, in a process group of its own."""
        who = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        with log.open("ab") as out:
            return subprocess.Popen(
                command,
                cwd=self.clone,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **who,
            )


def run(context: Context) -> list[Line]:
    """Clone, start, ask, stop, start again, test."""
    stranger, about = prepare(context)
    context.say(f"  {about}")
    lines = []
    for number, (name, limit) in enumerate((("first", FIRST_LIMIT_S), ("second", SECOND_LIMIT_S)), 1):
        log = context.scratch / f"up-{number}.log"
        with making_up(stranger, log) as (port, process):
            seconds, answer = ask(port, process, log)
        lines.append(at_most(f"make up, {name} start, to the own model's answer", seconds, limit, "s", about))
        lines.append(
            held(f"{name} start: it knows that it is Paris", "Paris" in answer, answer.strip()[:120])
        )
    log = context.scratch / "test.log"
    began = time.monotonic()
    code = stranger.start("make", "test", log=log).wait(timeout=3600)
    seconds = time.monotonic() - began
    output = log.read_text(errors="replace")
    note = "; ".join([closing_line(output), *failures(output)])
    lines.append(held("make test passes", code == 0, note))
    if code == 0:  # how fast it failed is no figure
        lines.append(at_most("make test, from the clone", seconds, TEST_LIMIT_S, "s"))
    return lines


def prepare(context: Context) -> tuple[Stranger, str]:
    """Clone HEAD for somebody without rights."""
    git = shutil.which("git")
    if not git:
        raise CannotRun("git is not installed")
    clone, home = context.scratch / "trimtab", context.scratch / "home"
    subprocess.run([git, "clone", "--quiet", "--no-hardlinks", context.root, clone], check=True)
    home.mkdir()
    commit = subprocess.run(
        [git, "rev-parse", "--short", "HEAD"], cwd=clone, capture_output=True, text=True, check=True
    ).stdout.strip()
    about = f"commit {commit}"
    changed = subprocess.run(
        [git, "status", "--porcelain"], cwd=context.root, capture_output=True, text=True, check=True
    )
    if changed.stdout.strip():
        about += " (the working tree has changes that are not in it)"
    user = None
    if os.geteuid() == 0:
        user = NOBODY if system_python() else None
        about += ", as nobody" if user else ", as root: no Python 3.11 with venv outside root's home"
    if user is not None:
        context.scratch.chmod(0o755)
        for path in (clone, home, *clone.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)
    return Stranger(clone, home, user), about


def system_python() -> bool:
    """Whether a user without rights finds a Python that will do."""
    python = shutil.which("python3", path=SYSTEM_PATH)
    program = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    return bool(python) and subprocess.run([python, "-c", program], check=False).returncode == 0


@contextmanager
def making_up(stranger: Stranger, log: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`make up` on free ports, ended by SIGTERM as by a service manager."""
    port, console = free_port(), free_port()
    arguments = f"--port {port} --console-port {console} --data {stranger.home / 'data'}"
    process = stranger.start("make", "up", f"ARGS={arguments}", log=log)
    try:
        yield port, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(port: int, process: subprocess.Popen[bytes], log: Path) -> tuple[float, str]:
    """Ask the own model until it answers; return seconds since now, and the answer."""
    began = time.monotonic()
    seen = "nothing listened"
    while time.monotonic() - began < GIVE_UP_S and process.poll() is None:
        try:
            models = fetch(port, "/v1/models")["data"]
            own = next(one["id"] for one in models if one["id"].startswith("own/"))
            body = {"model": own, "temperature": 0, "messages": [{"role": "user", "content": QUESTION}]}
            reply = fetch(port, "/v1/chat/completions", body)
            return time.monotonic() - began, reply["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            seen = f"{error.code} {error.read(300).decode(errors='replace')}"
        except (OSError, StopIteration) as error:
            seen = repr(error)
        time.sleep(0.1)
    tail = log.read_text(errors="replace")[-1500:]
    raise CannotRun(f"no answer in {time.monotonic() - began:.0f} s ({seen}); what make up said ends: {tail}")


def fetch(port: int, path: str, body: dict[str, object] | None = None) -> dict:
    """One JSON exchange with the gateway."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=GIVE_UP_S) as reply:
        return json.load(reply)
