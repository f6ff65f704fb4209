"""Start the demo in a folder of its own, walk its pages in Chromium, and keep a small picture of each."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, StorageState, sync_playwright

from .pages import PAGES, Shot, prepare
from .png import shrunk

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "images" / "console"
LARGEST = 80_000
"""Bytes of a picture at most."""

PORTS = ("18470", "18471")
"""Of gateway and console, while the pictures are taken."""

START_S = 120
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main(words: list[str]) -> int:
    """Take all pictures; return the exit code."""
    chromium = next((path for name in CHROMIUM if (path := shutil.which(name))), "")
    if not chromium:
        print("no Chromium here; as root: apt install chromium fonts-ipafont-gothic", file=sys.stderr)
        return 3
    folder = Path(words[0]).absolute() if words else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trimtab-screenshots-") as home, demo(Path(home)) as token:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            url = f"http://127.0.0.1:{PORTS[1]}"
            signed_in = sign_in(browser, url, token)
            large = [shot.name for shot in PAGES if take(browser, url, signed_in, shot, folder) > LARGEST]
            browser.close()
    if large:
        print(f"over {LARGEST:,} bytes: {', '.join(large)}", file=sys.stderr)
    return 1 if large else 0


@contextmanager
def demo(home: Path) -> Iterator[str]:
    """Run `trimtab up --demo`; yield the token that signs in."""
    (home / "trimtab.toml").write_text("[outbound]\nprivate_addresses = true\n")
    words = [
        sys.executable,
        "-m",
        "trimtab.cli",
        "up",
        "--demo",
        "--data",
        "trimtab",
        "--config",
        "trimtab.toml",
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TRIMTAB_", "OPENAI_"))}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*words, "--port", PORTS[0], "--console-port", PORTS[1]],
            stdout=log,
            stderr=log,
            cwd=home,
            env=env,
        )
        try:
            deadline = time.monotonic() + START_S
            while "Trimtab is up" not in (home / "log").read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the demo did not start:\n{(home / 'log').read_text()}")
                time.sleep(0.2)
            token = (home / "trimtab" / "run" / "admin.token").read_text().strip()
            prepare(f"http://127.0.0.1:{PORTS[1]}", token, f"http://127.0.0.1:{PORTS[0]}")
            yield token
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def sign_in(browser: Browser, url: str, token: str) -> StorageState:
    """Sign in once; return the cookies for all pictures."""
    page = browser.new_page()
    page.goto(f"{url}/#token={token}")
    page.wait_for_url(f"{url}/")
    state = page.context.storage_state()
    page.close()
    return state


def take(browser: Browser, url: str, signed_in: StorageState, shot: Shot, folder: Path) -> int:
    """Take one picture; return its size in bytes."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.theme,
        locale={"en": "en-US", "ja": "ja-JP"}[shot.language],
        timezone_id="Asia/Tokyo" if shot.language == "ja" else "Europe/Paris",
        reduced_motion="reduce",
        storage_state=signed_in if shot.path != "/sign-in" else None,
    )
    try:
        page = context.new_page()
        page.goto(url + shot.path, wait_until="networkidle" if "live" not in shot.path else "load")
        if shot.then is not None:
            shot.then(page)
        settled(page)
        small = shrunk(page.screenshot(), shot.colours)
        (folder / f"{shot.name}.png").write_bytes(small)
        print(f"{shot.name}.png  {len(small):,} bytes", flush=True)
        return len(small)
    finally:
        context.close()


def settled(page: Page) -> None:
    """Wait until charts are drawn and no pointer is over anything."""
    page.mouse.move(2, 2)
    page.wait_for_function(
        "!document.querySelector('[data-charts]') || document.querySelectorAll('canvas').length > 2"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
