"""Which pages are pictured, and what makes them worth looking at."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.request import Request, urlopen

from playwright.sync_api import Page


@dataclass(frozen=True)
class Shot:
    """One picture."""

    name: str
    path: str
    then: Callable[[Page], None] | None = None
    """What is done on the page before."""
    language: Literal["en", "ja"] = "en"
    theme: Literal["light", "dark"] = "light"
    width: int = 1280
    height: int = 860
    colours: int = 96


def first(page: Page) -> None:
    """Open the first row of a list."""
    page.locator("tbody tr a").first.click()
    page.wait_for_load_state("networkidle")


def talk(page: Page) -> None:
    """Open a session of several calls."""
    row = page.locator("tbody tr", has=page.locator("td:nth-child(5)", has_text="4")).first
    row.locator("a").first.click()
    page.wait_for_load_state("networkidle")


def tested(page: Page) -> None:
    """Test the provider in place."""
    page.locator("main .head form button").click()
    page.wait_for_selector("#tested .tested")


PAGES = (
    Shot("sign-in", "/sign-in", height=640),
    Shot("home", "/", height=1440),
    Shot("home-ja", "/", language="ja", theme="dark", height=1440),
    Shot("home-users", "/?top=users#top", height=620),
    Shot("calls", "/calls?project=demo", height=760),
    Shot("call", "/calls?project=demo&state=ok&text=refund", first, height=1100),
    Shot("sessions", "/sessions", height=620),
    Shot("session", "/sessions", talk, height=860),
    Shot("models", "/models", height=620),
    Shot("model", "/models?id=openai/gpt-4.1-mini", height=620),
    Shot("providers", "/providers", height=420),
    Shot("provider", "/providers/lab", tested, height=1500),
    Shot("keys", "/keys", height=480),
    Shot("projects", "/projects", height=420),
    Shot("project", "/projects/demo", height=860),
    Shot("settings", "/settings", height=900),
    Shot("settings-history", "/settings/-/history", height=420),
    Shot("users", "/users", height=480),
    Shot("user", "/users/maria", height=820),
    Shot("account", "/account", height=420),
    Shot("audit", "/audit", height=520),
    Shot("privacy", "/privacy", height=800),
    Shot("health", "/health", height=760),
    Shot("narrow", "/calls?project=demo", width=390, theme="dark", height=844),
)
"""In the order of docs/how-to/console.md."""


def prepare(url: str, token: str, gateway: str) -> None:
    """Do what a team does in its first days, so that no page is bare: users, a provider, changed settings.

    The provider is the demo's own gateway: whatever is asked of it stays on this machine.
    """

    def send(method: str, path: str, body: dict[str, Any]) -> None:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        request = Request(f"{url}/api/v1/{path}", json.dumps(body).encode(), headers, method=method)
        with urlopen(request, timeout=60) as reply:
            reply.read()

    for name, role in (("maria", "admin"), ("kenji", "editor"), ("noor", "viewer")):
        send("POST", "users", {"name": name, "role": role, "password": "only for the pictures"})
    send("PUT", "projects/web-shop", {"title": "Web shop", "payload": "hash", "retention_days": 30})
    lab = {"base_url": f"{gateway}/v1", "models": ["gpt-5-mini"], "headers": {"x-team": "search"}}
    send("PUT", "providers/lab", lab)
    send("PUT", "settings/retry.attempts", {"value": "4"})
    send("PUT", "settings/data.retention_days", {"value": "90"})
