"""Who is erased stands nowhere in the data folder: in no log, store, account or kept reply, nor after a late end."""

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rigs.house import House, until
from trimtab.storage import call_line
from trimtab.testing import FakeServer
from trimtab.testing.calls import sample_call
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
    trimtab(house, "erase", *words, "--yes")


def trimtab(house: House, *words: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "trimtab", *words, "--data", house.data],
        capture_output=True, text=True, cwd=house.home, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def holding(house: House) -> list[str]:
    found = []
    for path in house.data.rglob("*"):
        with suppress(FileNotFoundError):  # removed between listing and reading
            if path.is_file() and WHO in path.read_bytes():
                found.append(path.name)
    return sorted(found)


def test_no_byte_is_left_of_calls_before_and_of_one_under_way(house: House, held: Held) -> None:
    assert ask(house, "quagga-1", "a quagga") == "miss"
    until(lambda: ask(house, "quagga-1", "a quagga") == "hit", "the reply is kept")
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
    until(lambda: ask(house, "zebra-1", "a zebra") == "hit", "replies are kept again")
    assert ask(house, "zebra-2", "a held quagga") == "miss", (
        "a reply to a call that was erased is never given again"
    )


def test_a_kept_reply_does_not_outlive_calls_that_grow_too_old(house: House) -> None:
    ask(house, "zebra-1", "a quagga")
    until(lambda: "cache.db-wal" in holding(house), "the reply is kept")
    old = house.home / "old.jsonl"
    old.write_bytes(call_line(sample_call(ms=1_735_732_800_000)))
    trimtab(house, "import", str(old))
    until(lambda: list(house.data.glob("calls-20250101*.db")), "a call of another year is stored")
    trimtab(house, "settings", "set", "data.retention_days", "1")
    until(lambda: not list(house.data.glob("calls-20250101*.db")), "it is too old")
    until(lambda: not [name for name in holding(house) if name.startswith("cache")], "no reply is kept")


def test_the_same_where_nothing_runs(house: House) -> None:
    ask(house, "quagga-1", "a quagga")
    until(lambda: ask(house, "quagga-1", "a quagga") == "hit", "the reply is kept")
    house.stop()
    assert {"cache.db", "state"} <= set(holding(house))
    erase(house, "--user", "quagga-1")
    assert holding(house) == []
