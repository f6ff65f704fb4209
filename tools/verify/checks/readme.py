"""Every code block of the READMEs, run in a fresh environment: the wheel with [local], its own model, a new home."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tools.verify.line import Context, Line, held

from .wheel import wait_for

PAGES = ("README.md", "README.ja.md")
GATEWAY, CONSOLE = 18480, 18481
MODEL_S = 120.0
COVERED = ("make up", "pip install")
"""What the `text` blocks say: their commands start what the other blocks need, as this check and `bare-clone` do."""


def run(context: Context) -> list[Line]:
    """Install as the README says, start, then run what stands after it, page by page."""
    place = install(context)
    home = context.scratch / "home"
    home.mkdir()
    environment = {
        "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "TRIMTAB_BASE_URL": f"http://127.0.0.1:{GATEWAY}/v1",
        "LANG": "C.UTF-8",
    }
    log = context.scratch / "up.log"
    ports = ["--port", str(GATEWAY), "--console-port", str(CONSOLE)]
    with log.open("w") as out:
        child = subprocess.Popen(
            [place / "bin" / "trimtab", "up", *ports], cwd=home, env=environment, stdout=out, stderr=out
        )
        try:
            ready = wait_for(f"http://127.0.0.1:{GATEWAY}/readyz", child) and has_model(home, child)
            said = "" if ready else log.read_text(encoding="utf-8")[-400:]
            return [page(context, name, place, environment, said) for name in PAGES]
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(20)
            child.kill()


def install(context: Context) -> Path:
    """Make an environment of the wheel with [local], and of the client that the README's example uses."""
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels = context.scratch / "wheels"
    subprocess.run([context.python, *pip, "wheel", "--no-deps", "-w", wheels, context.root], check=True)
    [wheel] = wheels.glob("trimtab-*.whl")
    place = context.scratch / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    what = [f"trimtab[local] @ {wheel.as_uri()}", "openai"]
    subprocess.run([place / "bin" / "python", *pip, "install", *what], check=True, stdout=subprocess.DEVNULL)
    return place


def has_model(home: Path, child: subprocess.Popen[bytes]) -> bool:
    """Whether the own model is there in time; its first start downloads it."""
    until = time.monotonic() + MODEL_S
    while child.poll() is None and time.monotonic() < until:
        if list(home.glob(".local/share/trimtab/run/model.json")):
            return True
        time.sleep(0.2)
    return False


def page(context: Context, name: str, place: Path, environment: dict[str, str], said: str) -> Line:
    """Run one page's blocks in their order."""
    promise = f"every code block of {name} runs in a fresh environment"
    if said:
        return held(promise, False, json.dumps(said))
    found = re.findall(
        r"^```([^\n`]*)\n(.*?)^```\s*$", (context.root / name).read_text(), re.MULTILINE | re.DOTALL
    )
    odd = [text for language, text in found if language == "text" and not text.startswith(COVERED)]
    fitted = [
        (number, language, text.replace("127.0.0.1:8400", f"127.0.0.1:{GATEWAY}"))
        for number, (language, text) in enumerate(found)
        if language != "text"
    ]
    done = subprocess.run(
        [place / "bin" / "python", context.root / "tests" / "docs" / "run_page.py"],
        input=json.dumps(fitted),
        capture_output=True,
        text=True,
        cwd=environment["HOME"],
        env=environment,
        timeout=300,
        check=False,
    )
    well = done.returncode == 0 and not odd
    note = f"{len(fitted)} of {len(found)} blocks; the others are the commands that start it" if well else ""
    return held(promise, well, note or json.dumps((odd, done.stderr[-400:])))
