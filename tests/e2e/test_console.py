"""The console of a whole installation: signed in with its token, it shows a call a moment after it was made."""

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from rigs.house import House, until
from trimtab.testing import FakeServer


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with FakeServer() as upstream, House(tmp_path / "house", upstream.base_url) as house:
        yield house


class Visitor:
    """Keeps cookies."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, fields: dict[str, str] | None = None) -> tuple[int, str]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        body = urlencode(fields) if fields else None
        if body:
            headers["content-type"] = "application/x-www-form-urlencoded"
        link.request(method, path, body, headers)
        reply = link.getresponse()
        text = reply.read().decode()
        for cookie in reply.headers.get_all("set-cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        link.close()
        return reply.status, text


def test_a_call_is_on_the_page_a_moment_after_it_was_made(house):
    visitor = Visitor(house.console_port)
    assert visitor.ask("GET", "/calls")[0] == 303
    token = (house.data / "run" / "admin.token").read_text().strip()
    csrf = re.search(r'name="csrf" value="(\w+)"', visitor.ask("GET", "/sign-in")[1])[1]
    assert visitor.ask("POST", "/sign-in", {"csrf": csrf, "token": token})[0] == 303
    assert "Make the first call" in visitor.ask("GET", "/")[1]
    ask(house, "Where is 京都?")
    page = until(lambda: found(visitor, "/calls", "京都"), "the call is listed", 5.0)
    call_id = re.search(r'<tr id="c-([0-9a-f-]{36})"', page)[1]
    assert "京都" in visitor.ask("GET", f"/calls/{call_id}")[1]
    until(lambda: found(visitor, "/calls?text=%E4%BA%AC%E9%83%BD", call_id), "its words are found", 5.0)
    until(lambda: "Traffic" in visitor.ask("GET", "/?range=1h")[1], "the sums have it", 10.0)
    for path in (
        "/sessions",
        "/models",
        "/providers",
        "/keys",
        "/projects",
        "/settings",
        "/users",
        "/audit",
        "/health",
    ):
        assert visitor.ask("GET", path)[0] == 200, path
    assert house.admin("/api/v1/calls")[1]["calls"][0]["id"] == call_id


def found(visitor: Visitor, path: str, text: str) -> str:
    status, page = visitor.ask("GET", path)
    assert status == 200
    return page if text in page.split("<tbody")[-1] and "<tbody" in page else ""


def ask(house: House, question: str) -> None:
    link = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
    body = json.dumps({"model": "openai/m", "messages": [{"role": "user", "content": question}]})
    link.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    reply = link.getresponse()
    assert reply.status == 200, reply.read()
    link.close()
