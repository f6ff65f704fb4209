"""Who is erased stands nowhere in the data folder: in no log, store, account or kept reply, nor after a late end."""

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.house import House, until
from trimtab.testing import FakeServer
from trimtab.testing.reply import Ask

RULES = """
[routes.faq]
model = "openai/m"
cache_ttl_s = 3600
[limits.calls]
per = "user"
requests_per_minute = 6000
concurrency = 9
[budgets.each]
per = "user"
amount_usd = 1000
"""
WHO = b"quagga"


class Held:
    """A provider's answers: at once, but one that waits until it is told."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, ask: Ask) -> str:
        said = str(ask.last_message("user"))
        if "held" in said:
            self.asked.set()
            assert self.go_on.wait(60)
        return said


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def house(tmp_path: Path, held: Held) -> Iterator[House]:
    with FakeServer(script=held) as upstream:
        try:
            with House(tmp_path / "house", upstream.base_url, sections=RULES) as house:
                yield house
        finally:
            held.go_on.set()


def ask(house: House, user: str, words: str) -> str:
    link = http.client.HTTPConnection("127.0.0.1", house.port, timeout=90)
    body = {"model": "route/faq", "user": user, "messages": [{"role": "user", "content": words}]}
    link.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    reply = link.getresponse()
    text = reply.read().decode()
    link.close()
    assert reply.status == 200, text
    return reply.headers["x-trimtab-cache"]


def erase(house: House, *words: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "trimtab", "erase", *words, "--yes", "--data", house.data],
        capture_output=True, text=True, cwd=house.home, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def holding(house: House) -> list[str]:
    files = [path for path in house.data.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if WHO in path.read_bytes())


def test_no_byte_is_left_of_calls_before_and_of_one_under_way(house: House, held: Held) -> None:
    assert [ask(house, "quagga-1", "a quagga") for _ in range(2)] == ["miss", "hit"]
    assert ask(house, "zebra-1", "a zebra") == "miss"
    under_way = threading.Thread(target=ask, args=(house, "quagga-1", "a held quagga"))
    under_way.start()
    try:
        assert held.asked.wait(60)
        assert "state" in holding(house)
        erase(house, "--user", "quagga-1")
        assert [name for name in holding(house) if not name.startswith("worker-")] == []
    finally:
        held.go_on.set()
        under_way.join()
    # The end of that call is overwritten as soon as the recorder meets it; its reply must not be kept either.
    until(lambda: holding(house) == [], "the call that was under way has left no trace")
    assert ask(house, "zebra-1", "a zebra") == "miss"
    assert ask(house, "zebra-1", "a zebra") == "hit"
    assert ask(house, "zebra-2", "a held quagga") == "miss", (
        "a reply to a call that was erased is never given again"
    )


def test_the_same_where_nothing_runs(house: House) -> None:
    ask(house, "quagga-1", "a quagga")
    house.stop()
    assert {"cache.db", "state"} <= set(holding(house))
    erase(house, "--user", "quagga-1")
    assert holding(house) == []
