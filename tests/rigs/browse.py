"""A browser without a window for tests of pages: keeps cookies, sends forms with the token that the page holds."""

import asyncio
import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from rigs.fake_control import FakeControl
from trimtab.types import Actor, Role

PORT = 8401


@dataclass
class Page:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: list[str]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def words(self) -> str:
        """The text without tags, entities resolved."""
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", self.text)))

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="(\w*)"', self.text)
        return found[1] if found else ""


@dataclass
class Browser:
    """Asks an ASGI application, in the tests' own thread."""

    app: Callable[..., Any]
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str = ""

    def get(self, path: str, **headers: str) -> Page:
        return self.ask("GET", path, headers)

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Page:
        """Send a form; the token is the one of the page seen last, unless given."""
        body = urlencode({"csrf": self.csrf} | (fields or {})).encode()
        form = {"content-type": "application/x-www-form-urlencoded", "origin": f"http://127.0.0.1:{PORT}"}
        return self.ask("POST", path, form | headers, body)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Page:
        target, _, query = path.partition("?")
        shown = {"host": f"127.0.0.1:{PORT}"} | {k.replace("_", "-"): v for k, v in (headers or {}).items()}
        if self.cookies:
            shown["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": target, "raw_path": target.encode(), "query_string": query.encode(),
            "root_path": "", "headers": [(k.encode(), v.encode()) for k, v in shown.items() if v],
            "client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", PORT),
        }  # fmt: skip
        page = asyncio.run(_ask(self.app, scope, body))
        for text in page.cookies:
            for name, morsel in SimpleCookie(text).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        if page.csrf:
            self.csrf = page.csrf
        return page


async def _ask(app: Callable[..., Any], scope: dict[str, Any], body: bytes) -> Page:
    sent: list[Any] = []
    asked = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        message = next(asked, None)
        if message is None:
            await asyncio.Event().wait()
        assert message is not None
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = [(k.decode(), v.decode()) for k, v in sent[0]["headers"]]
    return Page(
        sent[0]["status"], dict(headers), b"".join(m.get("body", b"") for m in sent[1:]),
        [value for name, value in headers if name == "set-cookie"],
    )  # fmt: skip


def signed_in(app: Callable[..., Any], control: FakeControl, role: Role, name: str = "") -> Browser:
    """Return a browser whose user signed in, and has seen a page."""
    actor = Actor(
        name=name or {"admin": "ada", "editor": "eve", "viewer": "vic"}[role], role=role, via="console"
    )
    token, _ = control.people.open(actor)
    browser = Browser(app, {f"trimtab_session_{PORT}": token})
    browser.get("/health-of-nothing")
    return browser
