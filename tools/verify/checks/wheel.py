"""The built wheel in an empty environment, far from the repository: does `trimtab up` answer?"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from tools.verify.line import Context, Line, held

GATEWAY, CONSOLE = 18470, 18471
READY_S = 60.0


def run(context: Context) -> list[Line]:
    """Build, install, start, ask, stop."""
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels = context.scratch / "wheels"
    subprocess.run([context.python, *pip, "wheel", "--no-deps", "-w", wheels, context.root], check=True)
    [wheel] = wheels.glob("trimtab-*.whl")
    place = context.scratch / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    subprocess.run([place / "bin" / "python", *pip, "install", wheel], check=True, stdout=subprocess.DEVNULL)
    return [up(context, place)]


def up(context: Context, place: Path) -> Line:
    """Start it from an empty folder, and ask the gateway and the console."""
    elsewhere = context.scratch / "elsewhere"
    elsewhere.mkdir()
    out = context.scratch / "up.log"
    ports = ["--port", str(GATEWAY), "--console-port", str(CONSOLE), "--demo"]
    command = [place / "bin" / "trimtab", "up", *ports, "--data", elsewhere / "data"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(elsewhere)}
    with out.open("w") as log:
        child = subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=log, stderr=log)
        try:
            ready = wait_for(f"http://127.0.0.1:{GATEWAY}/readyz", child)
            console = wait_for(f"http://127.0.0.1:{CONSOLE}/healthz", child)
            inside = what_is_missing(elsewhere / "data" / "run" / "admin.token") if console else "no console"
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(20)
            child.kill()
    well = ready and console and not inside
    note = (
        "gateway, console with its files, and the demo"
        if well
        else inside + out.read_text(encoding="utf-8")[-400:]
    )
    return held(
        "pip install of the wheel in an empty environment, then `trimtab up`",
        well,
        json.dumps(note),
    )


def what_is_missing(token: Path) -> str:
    """Look whether a page comes with all that it names, and whether the demo is there."""
    base = f"http://127.0.0.1:{CONSOLE}"
    with urllib.request.urlopen(f"{base}/sign-in", timeout=10) as reply:
        page = reply.read().decode()
    files = sorted(set(re.findall(r"(?:href|src)=\"(/static/[^\"]+)\"", page)))
    if not files:
        return f"the sign-in page names no files: {page[:200]}"
    for file in files:
        try:
            with urllib.request.urlopen(base + file, timeout=10) as reply:
                reply.read()
        except urllib.error.HTTPError as error:
            return f"{file}: {error.code}"
    ask = urllib.request.Request(
        f"{base}/api/v1/calls?project=demo&limit=1", headers={"authorization": f"Bearer {token.read_text()}"}
    )
    with urllib.request.urlopen(ask, timeout=10) as reply:
        return "" if json.load(reply)["calls"] else "the demo has no calls"


def wait_for(url: str, child: subprocess.Popen[bytes]) -> bool:
    """Whether a URL answers before the child ends or the time is over."""
    until = time.monotonic() + READY_S
    while child.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return True
        except urllib.error.HTTPError:
            return True  # it speaks
        except OSError:
            time.sleep(0.1)
    return False
