"""The two C programs of the bench: built once into bench/.build, then run."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / ".build"


class Missing(Exception):
    """A tool that the bench needs is not installed; the message says how to get it."""


def need(tool: str, how: str) -> str:
    """Path of a tool, also where sbin is not on PATH.

    Raises:
        Missing: it is not installed.
    """
    found = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin:/usr/local/sbin")
    if not found:
        raise Missing(f"{tool} is not installed. {how}")
    return found


def program(name: str) -> Path:
    """Build bench/c/NAME.c if it changed, and return the program."""
    gcc = need("gcc", "On Debian and Ubuntu, as root: apt install gcc libc6-dev")
    source, target = HERE / "c" / f"{name}.c", BUILD / name
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        part = BUILD / f"{name}.part"
        subprocess.run([gcc, "-O2", "-o", part, source], check=True)
        part.replace(target)
    return target


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """One run of the load generator."""

    port: int
    path: str
    connections: int
    seconds: float
    rate: float = 0.0
    """Requests a second; 0 is a closed loop."""
    stream: bool = False
    model: str = "gpt-4o-mini"
    headers: tuple[str, ...] = ()

    def start(self) -> subprocess.Popen[str]:
        """Start it, on the cores that we are on."""
        numbers = (self.connections, self.seconds, self.rate, int(self.stream))
        command = [str(program("load")), str(self.port), self.path, *map(str, numbers), *self.headers]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"LOAD_MODEL": self.model})


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the load generator saw; times in ms."""

    rps: float
    p50_ms: float
    p99_ms: float
    chunks_s: float
    answers: int
    failures: int
    """Broken connections, replies other than 200, arrivals given up, requests never answered."""


def finish(load: subprocess.Popen[str]) -> LoadResult:
    """Wait for a run's end and read its line."""
    out, _ = load.communicate(timeout=600)
    if load.returncode:
        raise RuntimeError(f"the load generator ended with {load.returncode}; what it said stands above")
    seen = json.loads(out)
    return LoadResult(
        rps=seen["rps"],
        p50_ms=seen["p50_us"] / 1e3,
        p99_ms=seen["p99_us"] / 1e3,
        chunks_s=seen["chunks_s"],
        answers=seen["answers"],
        failures=seen["errs"] + seen["bad"] + seen["missed"] + seen["pending"],
    )
