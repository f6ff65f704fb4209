"""A tour of the console: every page is opened and every form is sent, as people do it, whatever the language.

It finds forms by where they lead, and notes which rows of the table of routes were met: one that was not fails it.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from playwright.sync_api import Locator, Page, expect

from rigs.browser import Watch
from trimtab.console.pages import ROUTES

PASSWORD = "tractor paste, please"
LATER = "another paste, please"
OF_CALLS = {
    "/calls/{id}", "/calls/{id}.json", "/calls/{id}/feedback", "/sessions/one", "/privacy/-/erase", "/home/series.json",
    "/traces/{id}", "/traces/{id}.json",
}  # fmt: skip
"""Routes that there is no way to before the first call."""

BEFORE_CALLS = {"/home/waiting"}
"""And one that there is none to after it."""

SOON_MS = 10_000


@dataclass
class Tour:
    """One visitor's way through everything."""

    watch: Watch
    url: str
    token: str
    name: str
    """Stands in all that is made, so that tours of one installation do not meet."""
    upstream: str
    """Base URL of a provider that may be added."""
    backup: str
    """A folder that is not there yet, on the machine that the console runs on."""
    calls: bool
    """Whether there are calls."""
    met: set[tuple[str, str]] = field(default_factory=set)

    @property
    def page(self) -> Page:
        """The tab."""
        return self.watch.page

    def walk(self) -> None:
        """Go everywhere.

        Raises:
            AssertionError: a route was not met, or a form did not do its work.
        """
        self.page.on("response", lambda answer: self._note(answer.request.method, answer.url, answer.status))
        self.watch.see(f"{self.url}/sign-in", self._shot("sign-in"))
        self.watch.sign_in(self.url, self.token)
        self._watching()
        steps = (
            self._keys,
            self._projects,
            self._users,
            self._providers,
            self._rules,
            self._alerts,
            self._settings,
            self._privacy,
        )
        for step in steps:
            step()
        self._lists()
        self._sign_out()
        self.judge()

    def judge(self) -> None:
        """Compare what was met with the console's own table.

        Raises:
            AssertionError: something was left out.
        """
        left_out = BEFORE_CALLS if self.calls else OF_CALLS
        wanted = {(route.method, route.path) for route in ROUTES if route.path not in left_out}
        assert wanted <= self.met, f"never visited: {sorted(wanted - self.met)}"

    def _note(self, method: str, url: str, status: int) -> None:
        path = urlsplit(url).path
        for route in ROUTES:
            if method == route.method and route.pattern.fullmatch(path) and status < 400:
                self.met.add((route.method, route.path))
                return

    # --- what people do -------------------------------------------------------------------------------------

    def _watching(self) -> None:
        self._see("/")
        self._send("/preferences", press=f"button[lang='{self.watch.look.language}']")
        if not self.calls:
            self._await("/home/waiting")
            for path in ("/calls", "/sessions", "/traces", "/spend"):
                self._see(path)
            self._missing("/calls/019ab7e5-0000-7000-8000-000000000000")
            self._missing("/sessions/one?session=nobody")
            return
        for query in ("?range=1h", "?range=7d", "?range=24h&top=users", "?range=24h&top=keys"):
            self._see(f"/{query}")
        self._see("/spend")
        self._see("/sessions")
        self.page.locator("tbody tr a").first.click()
        self.page.wait_for_load_state()
        self._look("session")
        self._see("/traces")
        self.page.locator("tbody tr a").first.click()
        self.page.wait_for_load_state()
        self._look("trace")
        self._download("main a[download]")
        self._see("/calls?state=ok")
        self.page.locator("tbody tr a").first.click()
        self.page.wait_for_load_state()
        self._look("call")
        self._download("main a[download]")
        if self.page.locator("[data-copy='#as-curl']").count():
            self.page.locator(
                "summary", has=self.page.locator("xpath=..//button[@data-copy='#as-curl']")
            ).first.click()
        form = self._form("/feedback")
        form.locator("input[value='1']").check()
        form.locator("[name=comment]").fill("kind, and right")
        form.locator("button").last.click()
        expect(self.page.locator("#feedback [role=status]")).to_be_visible()
        self._look("feedback")

    def _lists(self) -> None:
        self._see("/spend", "spend-all")
        self._download("a[href^='/spend.csv']")
        self._see("/calls?model=nothing")
        self._see("/calls?live=1")
        self._await("/calls/rows")
        self.page.goto(f"{self.url}/calls?user={self.name}")
        self._download("a[href^='/calls.csv']")
        self.page.locator("summary", has=self.page.locator("xpath=..//form[@action='/views']")).click()
        self._send("/views", name=self.name)
        self._look("view")
        self.page.once("dialog", lambda dialog: dialog.accept())
        chip = self.page.locator(".chip.view", has_text=self.name)
        self._send("/remove", within=chip)
        for path in ("/models", "/audit", f"/audit?actor={self.name}", "/health", "/nowhere"):
            (self._missing if path == "/nowhere" else self._see)(path)
        if self.calls:
            self._see("/models")
            self.page.locator("tbody tr a").first.click()
            self.page.wait_for_load_state()
            self._look("model")
        self.page.keyboard.press("?")
        expect(self.page.locator("#help")).to_be_visible()
        self._look("help")
        self.page.keyboard.press("Escape")

    def _keys(self) -> None:
        self._see("/keys")
        self._see("/keys/-/new")
        self._send("/keys/-/new", name=self.name)
        expect(self.page.locator("#new-key")).to_be_visible(timeout=SOON_MS)
        self._look("key-made")
        self._see("/keys")
        row = self.page.locator("tr", has=self.page.get_by_role("link", name=self.name, exact=True))
        row.locator("button").first.click()
        self._look("key-revoke")
        self._send("/revoke", press="button.danger", within=row)
        self._done()

    def _projects(self) -> None:
        self._see("/projects")
        self._see("/projects/-/new")
        self._send("/projects/-/new", name=self.name, title="Tour")
        self._done()
        self._see(f"/projects/{self.name}")
        self._send(f"/projects/{self.name}", retention_days="7")
        self._done()
        self._refused(f"/projects/{self.name}/remove", typed_name="no")
        self._send(f"/projects/{self.name}/remove", typed_name=self.name)
        self._done()

    def _users(self) -> None:
        self._see("/users")
        self._see("/users/-/new")
        twice = {"password": PASSWORD, "password_again": PASSWORD}
        self._refused("/users/-/new", name=self.name, password="short", password_again="short")
        self._send("/users/-/new", name=self.name, **twice)
        self._done()
        at = f"/users/{self.name}"
        self._see(at)
        self._send(f"{at}/role", role="editor")
        self._done()
        self._send(f"{at}/password", **twice)
        self._done()
        for _ in range(2):
            self._send(f"{at}/disabled")
            self._done()
        self._look("user")
        self._see("/account")
        self._account()
        self.page.goto(self.url + at)
        self._send(f"{at}/remove", typed_name=self.name)
        self._done()

    def _account(self) -> None:
        """Sign in as the user, change the password, and come back as before."""
        self._sign_out()
        form = self.page.locator("form:has(#name)")
        form.locator("#name").fill(self.name)
        form.locator("#password").fill(PASSWORD)
        form.locator("button").click()
        self.page.wait_for_url(f"{self.url}/")
        self._see("/account", "account-user")
        wrong = {"current": "not this", "password": LATER, "password_again": LATER}
        self._refused("/account/password", **wrong)
        self._send("/account/password", **(wrong | {"current": PASSWORD}))
        self._done()
        self._sign_out()
        self.watch.sign_in(self.url, self.token)

    def _providers(self) -> None:
        self._see("/providers")
        self._see("/providers/-/new")
        self.page.locator(".advanced summary").click()
        self._look("provider-advanced")
        self._send(
            "/providers/-/new", name=self.name, base_url=self.upstream, api_key="sk-of-the-tour-0123456789"
        )
        self._done()
        at = f"/providers/{self.name}"
        self._see(at)
        self._send(f"{at}/test")
        expect(self.page.locator("#tested .tested")).to_be_visible(timeout=SOON_MS)
        self._look("provider-tested")
        self._open(".advanced:not([open]) > summary")
        self._refused(at, headers="no colon")
        self._send(at, headers="x-tour: 1", models="m", first_byte_s="30")
        self._done()
        self._send(f"{at}/key", api_key="sk-of-the-tour-9876543210")
        self._done()
        self._look("provider")
        self._send(f"{at}/remove", typed_name=self.name)
        self._done()

    def _rules(self) -> None:
        for noun, first, then in (
            ("limits", {"requests_per_minute": "60"}, {"concurrency": "4"}),
            ("budgets", {"amount_usd": "12.50"}, {"amount_usd": "13"}),
        ):
            self._see(f"/{noun}")
            self._see(f"/{noun}/-/new")
            self._refused(f"/{noun}/-/new", name=self.name, **dict.fromkeys(first, "-1"))
            self._send(f"/{noun}/-/new", name=self.name, **first)
            self._done()
            at = f"/{noun}/{self.name}"
            self._see(at, f"{noun}-one")
            self._send(at, **then)
            self._done()
            self.page.goto(self.url + at)
            self._send(f"{at}/remove", typed_name=self.name)
            self._done()

    def _alerts(self) -> None:
        self._see("/alerts")
        self._see("/alerts/-/webhook")
        self._send("/alerts/-/webhook", name=self.name, url="https://hooks.example.org/x")
        self._look("webhook-made")
        self._see("/alerts", "alerts-hook")
        self._send(f"/webhooks/{self.name}/test")
        self._look("webhook-tested")
        self._see("/alerts/-/new")
        self._send("/alerts/-/new", name=self.name, kind="error_rate", threshold="0.2", webhooks=self.name)
        self._done()
        at = f"/alerts/{self.name}"
        self._see(at, "alerts-one")
        self._send(at, threshold="0.3", webhooks="")
        self._done()
        self.page.goto(self.url + at)
        self._send(f"{at}/remove", typed_name=self.name)
        self._done()
        row = self.page.locator("tr", has=self.page.locator(f"form[action='/webhooks/{self.name}/remove']"))
        row.locator("button[data-sure], button.danger").first.click()
        self._send(f"/webhooks/{self.name}/remove", press="button.danger", within=row)
        self._done()

    def _settings(self) -> None:
        self._see("/settings")
        self._refused("/settings/retry.attempts", value="many")
        self._send("/settings/retry.attempts", value="4")
        self._done()
        self._send("/settings/retry.attempts", value="", press=".back button")
        self._done()
        self._see("/settings/-/history")
        self._see("/settings/-/history?name=retry.attempts")
        self._see("/settings")
        self._send("/settings/-/reload")
        self._done()
        self._see("/settings/-/readings")

    def _privacy(self) -> None:
        self._see("/privacy")
        self._download("form[action='/privacy/-/export'] button")
        self._send("/privacy/-/backup", target=self.backup)
        expect(self.page.locator(".made")).to_be_visible(timeout=SOON_MS)
        self._look("backed-up")
        if not self.calls:
            self._see("/privacy?user=nobody", "privacy-nobody")
            return
        self.page.goto(f"{self.url}/calls?cols=user,time")
        user = next(text for text in self.page.locator("tbody td .cut-18").all_inner_texts() if text.strip())
        self._see(f"/privacy?user={quote(user)}", "privacy-found")
        self._send("/privacy/-/erase", typed_name=user)
        expect(self.page.locator(".made")).to_be_visible(timeout=SOON_MS)
        self._look("erased")

    def _sign_out(self) -> None:
        self._open(".menu-button")
        self._send("/sign-out", press="button:not([type=button])")
        self.page.wait_for_url(f"{self.url}/sign-in")

    # --- how ------------------------------------------------------------------------------------------------

    def _see(self, path: str, name: str = "") -> None:
        self.watch.see(self.url + path, self._shot(name or path))

    def _look(self, name: str) -> None:
        self.watch.look_over(self._shot(name))

    def _shot(self, name: str) -> str:
        made = "".join(c if c.isalnum() else "-" for c in name.replace(self.name, "x")).strip("-")
        return f"{'demo' if self.calls else 'empty'}-{made or 'home'}"

    def _missing(self, path: str) -> None:
        with self._expecting(404):
            self._see(path)

    def _form(self, action: str) -> Locator:
        return self.page.locator(
            f"form[method=post][action='{action}'], form[method=post][action$='{action}']"
        ).first

    def _send(
        self, action: str, *, press: str = "button", within: Locator | None = None, **fields: Any
    ) -> None:
        """Fill a form in and send it; wait for the answer."""
        form = self._form(action) if within is None else within.locator(f"form[action$='{action}']").first
        if press == ".back button":
            form = self.page.locator(f"form.back[action='{action}']")
        for name, value in fields.items():
            self._fill(form.locator(f"[name='{name}']:not([type=hidden])"), value)
        self._open(".menu-button") if action == "/preferences" else None
        button = form.locator(press.removeprefix(".back ")).last
        with self.page.expect_response(lambda answer: answer.request.method == "POST", timeout=SOON_MS):
            button.click()
        self.page.wait_for_load_state()

    def _fill(self, box: Locator, value: str) -> None:
        if box.count() == 0:
            return
        if box.evaluate("e => e.tagName") == "SELECT":
            box.select_option(value)
        else:
            box.fill(value)

    def _refused(self, action: str, **fields: str) -> None:
        """Send a form that is wrong: it must come back with what is wrong at its field."""
        with self._expecting(422):
            self.page.evaluate("document.querySelectorAll('form').forEach(form => form.noValidate = true)")
            self._send(action, **fields)
            expect(self.page.locator("[aria-invalid=true]").first).to_be_visible()
            self._look(f"wrong{action}")

    def _done(self) -> None:
        """Expect that the page says what was done."""
        expect(self.page.locator("main > .notice[role=status]").first).to_be_visible(timeout=SOON_MS)

    def _open(self, selector: str) -> None:
        button = self.page.locator(selector).first
        if button.is_visible() and button.get_attribute("aria-expanded") != "true":
            button.click()

    def _download(self, selector: str) -> None:
        with self.page.expect_download() as waiting:
            self.page.locator(selector).first.click()
        path = urlsplit(waiting.value.url).path
        assert waiting.value.path().stat().st_size >= 0
        self._note("GET", path, 200)

    def _await(self, path: str) -> None:
        """Wait for what a page asks for by itself."""
        with self.page.expect_response(f"**{path}**", timeout=SOON_MS):
            pass

    @contextmanager
    def _expecting(self, status: int):
        before, self.watch.refusals = self.watch.refusals, {*self.watch.refusals, status}
        try:
            yield
        finally:
            self.watch.refusals = before
