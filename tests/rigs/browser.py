"""Debian's Chromium, driven and watched: what a page must never do is noted while it is walked."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, Response, Route

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "no Chromium here (looked for: " + ", ".join(NAMES) + "), so the console was not looked at in a browser. "
    "On Debian and Ubuntu, as root: apt install chromium fonts-ipafont-gothic"
)
WAIT_MS = 10_000
GRAVE = ("serious", "critical")
"""Impacts of axe-core that fail a walk."""

AXE = """async () => {
  const found = await axe.run(document, {resultTypes: ['violations']});
  return found.violations.map(v => ({
    id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => n.target.join(' ') + ' ' + n.html),
  }));
}"""

SIDEWAYS = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll('body *')]
    .filter(e => e.getBoundingClientRect().right > width + 1)
    .slice(0, 5).map(e => e.outerHTML.slice(0, 120));
}"""


@dataclass(frozen=True)
class Look:
    """How somebody looks at the console."""

    language: Literal["en", "ja"] = "en"
    theme: Literal["light", "dark"] = "light"
    width: Literal[1280, 390] = 1280

    def __str__(self) -> str:
        return f"{self.language}-{self.theme}-{self.width}"


LOOKS = tuple(
    Look(language, theme, width)
    for language in ("en", "ja")
    for theme in ("light", "dark")
    for width in (1280, 390)
)


def chromium() -> str:
    """Return the path of a Chromium that is installed, or an empty string."""
    return next((path for name in NAMES if (path := shutil.which(name))), "")


@contextmanager
def launched(playwright: Playwright, path: str) -> Iterator[Browser]:
    """Start a browser without its own errands to the network."""
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pings"]
    browser = playwright.chromium.launch(executable_path=path, args=quiet)
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class Watch:
    """One tab; `faults` fills with what went wrong in it."""

    page: Page
    look: Look
    shots: Path | None = None
    """Where pictures go; None: nowhere."""
    faults: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Every URL that was requested."""
    refusals: set[int] = field(default_factory=set)
    """Statuses of 400 and more that the test means to see."""

    def __post_init__(self) -> None:
        """Listen from before the first page."""
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._note(f"script error: {error}"))
        self.page.on("request", self._request)
        self.page.on("response", self._response)
        self.page.route(lambda url: not is_here(url), self._foreign)

    def _note(self, what: str) -> None:
        self.faults.append(f"[{self.look}] {self.page.url}: {what}")

    def _console(self, message: ConsoleMessage) -> None:
        # Chromium's own line about a status of 400 and more; `_response` judges those.
        expected = message.text.startswith("Failed to load resource: the server responded with a status of")
        # An empty inline style, by its hash: what taking a picture leaves behind, and without any effect.
        expected = expected or "sha256-47DEQpj8HBSa" in message.text
        if message.type in ("error", "warning") and not expected:
            self._note(f"console {message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        self.asked.append(request.url)
        if not is_here(request.url):
            self._note(f"asked for {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.refusals:
            self._note(f"{response.request.method} {response.url} answered {response.status}")

    def _foreign(self, route: Route) -> None:
        route.abort()

    # --- walking --------------------------------------------------------------------------------------------

    def see(self, url: str, name: str = "") -> Page:
        """Open a page and look it over."""
        self.page.goto(url, wait_until="load")
        self.look_over(name)
        return self.page

    def sign_in(self, url: str, token: str) -> None:
        """Come in with the installation's token, by the address that `trimtab up` prints."""
        self.page.goto("about:blank")  # another fragment of the same page would load nothing
        self.page.goto(f"{url}/#token={token}")
        self.page.wait_for_url(f"{url}/")

    def look_over(self, name: str = "") -> None:
        """Judge the page as it stands: axe's rules, no sideways scroll, its language; take its picture."""
        for fault in axe_faults(self.page):
            self._note(f"axe {fault['impact']} {fault['id']}: {fault['help']}: {fault['nodes'][:3]}")
        if wide := self.page.evaluate(SIDEWAYS):
            self._note(f"scrolls sideways at {self.look.width} px because of {wide}")
        language = self.page.evaluate("document.documentElement.lang")
        if language != self.look.language:
            self._note(f"speaks {language!r}, not {self.look.language!r}")
        if name:
            self.shoot(name)

    def shoot(self, name: str) -> None:
        """Take a picture of the whole page."""
        if self.shots is not None:
            self.shots.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=self.shots / f"{name}-{self.look}.png", full_page=True)

    def judge(self) -> None:
        """Fail with everything that was noted.

        Raises:
            AssertionError: something was.
        """
        assert not self.faults, f"{len(self.faults)} faults:\n" + "\n".join(self.faults)


@contextmanager
def watched(
    browser: Browser, look: Look, shots: Path | None = None, *, scripts: bool = True
) -> Iterator[Watch]:
    """Open a tab of its own: no cookie, no cache of others; judge it at the end."""
    context = browser.new_context(
        viewport={"width": look.width, "height": 900},
        color_scheme=look.theme,
        locale={"en": "en-US", "ja": "ja-JP"}[look.language],
        timezone_id="Asia/Tokyo",
        reduced_motion="reduce",
        service_workers="block",
        accept_downloads=True,
        java_script_enabled=scripts,
    )
    try:
        watch = Watch(context.new_page(), look, shots)
        yield watch
        watch.judge()
    finally:
        context.close()


def is_here(url: str) -> bool:
    """Whether a URL leads to this machine, or nowhere at all."""
    parts = urlsplit(url)
    if parts.scheme in ("data", "blob", "about"):
        return True
    return parts.hostname in ("127.0.0.1", "localhost", "::1")


def axe_faults(page: Page) -> list[dict[str, Any]]:
    """Return axe-core's violations that are serious or critical."""
    # Through the debugger's door: the page's content policy forbids injected scripts, as it must.
    page.evaluate(axe_source())
    return [fault for fault in page.evaluate(AXE) if fault["impact"] in GRAVE]


def axe_source() -> str:
    """Return axe-core as axe-playwright-python ships it."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
