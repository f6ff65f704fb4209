"""`python -m bench.console FOLDER`: what reading costs in CPU, on a data folder with many calls.

The store first, in this process; with `--serve`, also every page and the API of a Trimtab started on the folder: the
control process's CPU clock is read before and after each request, while nothing else is asked of it.
"""

import argparse
import http.client
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

from trimtab.serve import Layout
from trimtab.storage import CallQuery, CallStore
from trimtab.storage.sqlite import open_call_store

from .figures import Figure
from .procfs import process_cpu_ns

CALL_MS, SEARCH_MS, PAGE_MS, CALL_KB = 5, 20, 50, 2.0
FIRST_MS = 100
"""What a page may take when nothing is kept of earlier answers: the promise is the p95, and this is beside it."""
PAGES = (
    "/", "/?range=30d", "/home/series.json?range=7d", "/home/series.json?range=30d", "/home/waiting",
    "/calls", "/calls/rows", "/calls?text=refund", "/calls?text=%E8%BF%94%E9%87%91", "/calls?state=error",
    "/calls/{id}", "/sessions", "/models", "/providers", "/keys", "/projects", "/users", "/settings",
    "/settings/-/history", "/audit", "/health", "/privacy", "/?top=users&range=30d", "/?top=keys&range=30d", "/account",
)  # fmt: skip
"""The console's pages; {id} stands for a call's."""

WORDS = {
    "a common English word": "refund",
    "a middling English word": "warranty exchange",
    "a rare English word": "xylophone",
    "a common Japanese word of 2": "返金",
    "a Japanese word of 3": "領収書",
    "two Japanese words": "領収書 札幌",
    "a Japanese word that is nowhere": "鬱蒼",
    "an English word in one project": "refund",
}


def p95(values: list[float]) -> float:
    """The 95th percentile, of a sorted copy, the nearest rank above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]


def own_cpu_ms(work: Callable[[], object], rounds: int) -> float:
    """p95 of this thread's CPU over some rounds, in ms; the first round's file opening is no round."""
    work()
    taken = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        taken.append((time.thread_time() - began) * 1e3)
    return p95(taken)


def store_figures(store: CallStore, rounds: int) -> Iterator[Figure]:
    """The store alone."""
    some = store.find(CallQuery(limit=1000))
    ids = [call.id for call in some[:: max(1, len(some) // rounds)]]
    turn = iter(range(10**9))
    yield figure("a call by id", own_cpu_ms(lambda: store.get(ids[next(turn) % len(ids)]), rounds), CALL_MS)
    for name, text in WORDS.items():
        query = CallQuery(text=text, project="team-3" if "project" in name else "", limit=50)
        yield figure(f"search: {name}", own_cpu_ms(lambda q=query: store.find(q), rounds), SEARCH_MS)
    model = some[0].opened.model
    lists = {
        "the newest 50": CallQuery(limit=50),
        "50 of a model": CallQuery(model=model, limit=50),
        "50 of a rare state": CallQuery(state="cancelled", limit=50),
        "50 of a project": CallQuery(project="team-3", limit=50),
        "50 of the usual project with a rare state": CallQuery(project="default", state="error", limit=50),
        "50 of a user": CallQuery(user=next(c.opened.user for c in some if c.opened.user), limit=50),
        "50 of a user who never was": CallQuery(user="nobody", limit=50),
        "a page far back": CallQuery(until_us=some[-1].opened.opened_us - 3 * 86_400_000_000, limit=50),
    }
    for name, query in lists.items():
        yield figure(f"list: {name}", own_cpu_ms(lambda q=query: store.find(q), rounds), PAGE_MS)
    yield figure("sessions", own_cpu_ms(lambda: store.sessions(limit=50), rounds), PAGE_MS)
    newest = some[0].opened.opened_us
    day = 86_400_000_000
    spans = {
        "a day by hour and model": ("hour_model", day),
        "ten days by hour and model": ("hour_model", 10 * day),
        "an hour by minute": ("minute_project", day // 24),
        "a day by minute": ("minute_project", day),
        "thirty days by six hours and model": ("sixhour_model", 30 * day),
        "a day by user": ("day_user", day),
    }
    for name, (cube, span) in spans.items():
        yield figure(
            f"sums: {name}", own_cpu_ms(lambda c=cube, s=span: store.rollup(c, newest - s), rounds), PAGE_MS
        )


def figure(name: str, ms: float, limit: float) -> Figure:
    """CPU of one request, p95."""
    return Figure("CPU, p95", name, ms, "ms", limit, "<=", "")


class Site:
    """The console and the API of a running Trimtab."""

    def __init__(self, port: int, pid: int, token: str) -> None:
        self.port, self.pid, self.token = port, pid, token
        self.cookie = ""

    def get(self, path: str) -> tuple[int, bytes]:
        """One GET on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = (
            {"authorization": f"Bearer {self.token}"} if path.startswith("/api/") else {"cookie": self.cookie}
        )
        try:
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def sign_in(self) -> None:
        """Sign in with the installation's token, as its form does."""
        cookies: dict[str, str] = {}
        page = self._form("GET", b"", cookies)
        found = re.search(r'name="csrf" value="(\w*)"', page)
        assert found, "the sign-in page holds no form token"
        self._form("POST", urlencode({"csrf": found[1], "next": "/", "token": self.token}).encode(), cookies)
        self.cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        assert "session" in self.cookie, "the token was not taken"

    def _form(self, method: str, body: bytes, cookies: dict[str, str]) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        if body:
            headers["content-type"] = "application/x-www-form-urlencoded"
            headers["origin"] = f"http://127.0.0.1:{self.port}"
        try:
            connection.request(method, "/sign-in", body or None, headers)
            reply = connection.getresponse()
            for name, value in reply.getheaders():
                if name.lower() == "set-cookie":
                    key, _, rest = value.partition("=")
                    cookies[key] = rest.partition(";")[0]
            return reply.read().decode()
        finally:
            connection.close()

    def cost(self, path: str, rounds: int) -> tuple[float, float]:
        """p95 of the control process's CPU around a request, in ms; and what the first one took."""
        before = process_cpu_ns(self.pid)
        status, body = self.get(path)
        first = (process_cpu_ns(self.pid) - before) / 1e6
        assert status in (200, 204), f"{path}: {status} {body[:200]!r}"
        taken = []
        for _ in range(rounds):
            before = process_cpu_ns(self.pid)
            self.get(path)
            taken.append((process_cpu_ns(self.pid) - before) / 1e6)
        return p95(taken), first


@contextmanager
def serving(folder: Path, scratch: Path) -> Iterator[Site]:
    """Start Trimtab on a folder."""
    from tests.rigs.house import House

    house = House(scratch / "house", "http://127.0.0.1:9/v1")
    house.home.mkdir()
    house.data.symlink_to(folder.absolute())
    with house:
        token = (house.data / "run" / "admin.token").read_text()
        yield Site(house.console_port, house.ready_pid("control"), token)


def site_figures(site: Site, pages: tuple[str, ...], rounds: int) -> Iterator[Figure]:
    """Every page given, and the API."""
    status, body = site.get("/api/v1/calls?limit=1")
    assert status == 200, body
    call_id = json.loads(body)["calls"][0]["id"]
    for path, limit in (
        (f"/api/v1/calls/{call_id}", CALL_MS),
        *(
            (f"/api/v1/calls?limit=50&text={quote(text)}", SEARCH_MS)
            for text in dict.fromkeys(WORDS.values())
        ),
        ("/api/v1/calls?limit=50", PAGE_MS),
    ):
        yield figure(f"GET {path.replace(call_id, '{id}')}", site.cost(path, rounds)[0], limit)
    if pages:
        site.sign_in()
    for path in pages:
        usual, first = site.cost(path.replace("{id}", call_id), rounds)
        yield figure(f"page {path}", usual, PAGE_MS)
        # Nothing is kept of earlier answers then, and templates and files are opened.
        yield Figure("CPU", f"page {path}, the first time", first, "ms", FIRST_MS, "<=")


def main() -> int:
    """Measure and print; 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--serve", action="store_true", help="start Trimtab on it and ask over HTTP too")
    parser.add_argument(
        "--page", action="append", default=[], help="a console page to ask for; {id} is a call's"
    )
    options = parser.parse_args()
    store = open_call_store(Layout(options.folder).calls, read_only=True)
    found = list(store_figures(store, options.rounds))
    calls, size = store.count(), sum(store.disk_bytes().values())
    found.append(
        Figure(
            "disk, per call of 2 KB text", "", size / calls / 1000, "KB", CALL_KB, "<=", f"{calls:,} calls"
        )
    )
    store.close()
    if options.serve:
        import tempfile

        with tempfile.TemporaryDirectory(dir=options.folder.parent) as scratch:
            with serving(options.folder, Path(scratch)) as site:
                found += site_figures(site, tuple(options.page or PAGES), options.rounds)
    for one in found:
        verdict = "    " if one.passed is None else "ok  " if one.passed else "OVER"
        print(
            f"{verdict} {one.shown:>12} ({one.limit_shown})  {one.measure}: {one.subject} {one.note}".rstrip()
        )
    return 1 if any(one.passed is False for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
