"""The console over a running installation: what is done in it, the gateway obeys."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from rigs.browser import LOOKS, Look, watched
from rigs.house import House, until
from rigs.places import PARTS
from rigs.tour import Tour
from trimtab import Tracer
from trimtab.console.pages import ROUTES
from trimtab.testing import FakeServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CONSENT = "[outbound]\nprivate_addresses = true"
NAMES = {
    "/alerts/{name}": "many-errors",
    "/budgets/{name}": "company",
    "/limits/{name}": "each-key",
    "/projects/{name}": "default",
    "/providers/{name}": "openai",
    "/users/{name}": "kenji",
}
VISITED = {"/calls/{id}", "/sessions/one", "/traces/{id}"}
"""Reached by a link of another page, or not at all."""

LIVE_S = 1.0


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, upstream: FakeServer) -> Iterator[House]:
    with House(tmp_path / "house", upstream.base_url, provider=CONSENT) as house:
        yield house


@pytest.fixture
def url(house) -> str:
    return f"http://127.0.0.1:{house.console_port}"


@pytest.fixture
def watch(browser, house, url, shots):
    with watched(browser, Look(), shots) as watch:
        watch.sign_in(url, (house.data / "run" / "admin.token").read_text().strip())
        yield watch


def call(house: House, key: str = "", model: str = "openai/m", **fields: object) -> tuple[int, dict]:
    link = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "invoice 請求書"}]} | fields)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        link.request("POST", "/v1/chat/completions", body, headers)
        reply = link.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        link.close()


def key_shown(upstream: FakeServer) -> str:
    """Return what the newest request to the provider showed."""
    return next(value for name, value in upstream.requests[-1].headers if name.lower() == "authorization")


def test_a_key_made_here_opens_the_gateway_until_it_is_revoked(watch, house, url):
    page = watch.page
    page.goto(f"{url}/projects/-/new")
    page.fill("#f-name", "shop")
    page.get_by_role("button", name="Make the project").click()
    page.goto(f"{url}/keys/-/new?project=shop")
    page.fill("#f-name", "checkout")
    page.get_by_role("button", name="Make the key").click()
    key = page.locator("#new-key").text_content() or ""
    assert call(house, key)[0] == 200
    page.goto(f"{url}/keys")
    page.locator("tr", has_text="checkout").get_by_role("button", name="Revoke").click()
    page.get_by_role("button", name="Revoke the key").click()
    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert call(house, key)[0] == 401


def test_a_provider_added_here_answers_calls(watch, house, upstream, url):
    page = watch.page
    page.goto(f"{url}/providers/-/new")
    page.fill("#f-name", "lab")
    page.fill("#f-base_url", upstream.base_url)
    page.fill("#f-api_key", "sk-entered-in-the-console-1")
    page.get_by_role("button", name="Add the provider").click()
    expect(page.locator("h1")).to_have_text("lab")
    page.get_by_role("button", name="Test").click()
    expect(page.locator("#tested")).to_contain_text("Answered in")
    assert call(house, model="lab/m")[0] == 200
    assert key_shown(upstream) == "Bearer sk-entered-in-the-console-1"
    watch.look_over()
    page.fill("#f-typed", "lab")
    page.get_by_role("button", name="Remove the provider").click()
    expect(page.get_by_role("status")).to_contain_text("removed")
    call(house, model="lab/m")  # a name like any other now: the provider that takes all names is asked for it
    assert key_shown(upstream) == "Bearer sk-upstream"


def test_a_call_shows_in_the_live_tail_within_a_second_and_is_erased_for_good(watch, house, url):
    page = watch.page
    call(house, user="early-bird")
    page.goto(f"{url}/calls?live=1")
    expect(page.locator("tbody tr")).to_have_count(1, timeout=10_000)
    call(house, user="maria@example.org")
    ended = time.monotonic()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert time.monotonic() - ended <= LIVE_S
    page.goto(f"{url}/privacy?user=maria@example.org")
    page.fill("#f-typed", "maria@example.org")
    page.get_by_role("button", name="Erase for good").click()
    expect(page.locator("h1")).to_have_text("Erased")
    page.goto(f"{url}/calls")
    expect(page.locator("tbody tr")).to_have_count(1)


@pytest.fixture(scope="module", params=["empty", "demo"])
def installation(request, tmp_path_factory) -> Iterator[tuple[House, str, str]]:
    """One for all looks: each tour brings names of its own."""
    options = ("--demo",) if request.param == "demo" else ()
    folder = tmp_path_factory.mktemp(request.param)
    with (
        FakeServer() as upstream,
        House(folder / "house", upstream.base_url, provider=CONSENT, options=options) as house,
    ):
        yield house, upstream.base_url, request.param


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_every_page_and_action_stands_over_the_real_thing(browser, shots, installation, look):
    house, upstream, data = installation
    token = (house.data / "run" / "admin.token").read_text().strip()
    url = f"http://127.0.0.1:{house.console_port}"
    name = f"tour-{look}"
    with watched(browser, look, shots) as watch:
        Tour(watch, url, token, name, upstream, str(house.home / name), calls=data == "demo").walk()


def test_every_page_stands_over_the_real_thing(watch, house, url):
    page = watch.page
    for at in range(3):
        call(house, user=f"user-{at}")
    page.goto(f"{url}/users/-/new")
    page.fill("#f-name", "kenji")
    page.fill("#f-password", "a password of length")
    page.fill("#f-password_again", "a password of length")
    page.get_by_role("button", name="Add the user").click()
    page.goto(f"{url}/settings")
    page.locator(".setting", has_text="retry.attempts").locator("input[name=value]").fill("5")
    page.locator(".setting", has_text="retry.attempts").get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_be_visible()
    page.goto(f"{url}/privacy")
    page.fill("#f-target", str(house.home / "backup"))
    page.get_by_role("button", name="Back up now").click()
    expect(page.locator("h1")).to_have_text("The backup is written")
    assert (house.home / "backup").is_dir()
    house.run("limits", "set", "each-key", "--per", "key", "--requests", "600")
    house.run("budgets", "set", "company", "--amount", "500", "--period", "month")
    house.run("alerts", "set", "many-errors", "error_rate", "--threshold", "0.05")
    for route in ROUTES:
        path = route.path
        if route.method != "GET" or path in {*PARTS, *VISITED, "/sign-in"}:
            continue
        if path in NAMES:
            path = path[: path.index("{")] + NAMES[path]
        assert "{" not in path, "every page must be met with something on it"
        watch.see(url + path, "running-" + (path.strip("/").replace("/", "-") or "home"))
    page.goto(f"{url}/calls")
    page.locator("tbody tr a").first.click()
    page.wait_for_load_state()
    watch.look_over("running-call")
    tracer = Tracer(f"http://127.0.0.1:{house.port}/v1", "")
    with tracer.span("outer"), tracer.span("inner", words="請求書"):
        pass
    assert tracer.close().accepted == 2
    page.goto(f"{url}/traces")
    until(lambda: page.reload() and page.locator("tbody tr").count(), "the trace is listed")
    page.locator("tbody tr a").first.click()
    page.locator("summary", has_text="inner").click()
    expect(page.locator(".trace-facts pre:visible")).to_have_text("請求書")
    watch.look_over("running-trace")
