"""`python -m bench.tail`: how long after its end a call shows in the console's live tail, in a browser.

A whole Trimtab, a provider that answers at once, Chromium on the list of calls; the page itself notes when each row
stands in it. Both clocks are this machine's. Wall time, so: on a machine that does nothing else.
"""

import argparse
import http.client
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from .console import p95
from .figures import Figure

LIMIT_MS = 1000
SEEN = """() => {
  window.seen = {};
  const note = () => document.querySelectorAll('tr[data-row]').forEach(row => {
    window.seen[row.id.slice(2)] ??= performance.timeOrigin + performance.now();
  });
  note();
  new MutationObserver(note).observe(document.body, {childList: true, subtree: true});
}"""


def measure(calls: int, folder: Path, seed: int = 7) -> list[float]:
    """Return how many ms after its end each call stood in the page.

    Raises:
        RuntimeError: Chromium is missing, or a call never showed.
    """
    from tests.rigs.browser import MISSING, chromium, launched
    from tests.rigs.house import House

    from trimtab.testing import FakeServer

    path = chromium()
    if not path:
        raise RuntimeError(MISSING)
    ended: dict[str, float] = {}
    with FakeServer() as upstream, House(folder / "house", upstream.base_url) as house:
        token = (house.data / "run" / "admin.token").read_text().strip()
        url = f"http://127.0.0.1:{house.console_port}"
        with sync_playwright() as playwright, launched(playwright, path) as browser:
            page = browser.new_page()
            page.goto(f"{url}/#token={token}")
            page.wait_for_url(f"{url}/")
            page.goto(f"{url}/calls?live=1")
            page.evaluate(SEEN)
            pauses = random.Random(seed)
            for _ in range(calls):
                call_id = _call(house.port)
                ended[call_id] = time.time() * 1000
                page.wait_for_timeout(pauses.uniform(20, 900))  # at any moment of the tail's own rhythm
            page.wait_for_timeout(2 * LIMIT_MS)
            seen: dict[str, float] = page.evaluate("window.seen")
    missing = ended.keys() - seen.keys()
    if missing:
        raise RuntimeError(f"{len(missing)} of {calls} calls never showed in the tail")
    return [max(0.0, seen[call_id] - at_ms) for call_id, at_ms in ended.items()]


def _call(port: int) -> str:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"model": "openai/m", "messages": [{"role": "user", "content": "?"}]})
    try:
        link.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        reply = link.getresponse()
        reply.read()
        return reply.headers["x-trimtab-call-id"]
    finally:
        link.close()


def figures(took_ms: list[float]) -> list[Figure]:
    """Median, p95 and the longest."""
    subject, note = "from a call's end to its row in the page", f"{len(took_ms)} calls"
    return [
        Figure("wall, median", subject, sorted(took_ms)[len(took_ms) // 2], "ms", None, "<=", note),
        Figure("wall, p95", subject, p95(took_ms), "ms", None, "<=", note),
        Figure("wall, longest", subject, max(took_ms), "ms", LIMIT_MS, "<=", note),
    ]


def main() -> int:
    """Measure and print; 1 where the longest passes the limit."""
    parser = argparse.ArgumentParser(prog="python -m bench.tail", description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trimtab-tail-") as folder:
        found = figures(measure(options.calls, Path(folder)))
    for one in found:
        verdict = "    " if one.passed is None else "ok  " if one.passed else "OVER"
        print(f"{verdict} {one.shown:>10} ({one.limit_shown})  {one.measure}: {one.subject}, {one.note}")
    return 1 if any(one.passed is False for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
