"""64 clients on 4 workers race for a budget that fits 100 calls, with and without `kill -9`."""

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.house import House, until
from trimtab.limits import MappedLimiter, RuleBook
from trimtab.storage import CallQuery
from trimtab.storage.sqlite import open_call_store
from trimtab.testing import FakeServer, Pace, Scripted
from trimtab.types import BudgetSpec, Call, Usage, usd_to_nusd

_CALLS = 100
_CLIENTS = 64
_TOKENS = 50
_CALL_NUSD = 50_000_000
"""50 tokens of output at 1,000 USD a million."""
_PRICES = {
    "format": 1,
    "version": "race",
    "models": {"openai/race": {"prices": [{"from": "2024-01-01", "input": "0", "output": "1000"}]}},
}
_RULES = """
[catalog]
file = "prices.json"
[budgets.race]
amount_usd = 5.0
period = "total"
wait_s = 30
"""


class Race:
    """64 clients that call until they are refused."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.statuses: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(_CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a client hangs"

    def _note(self, what: str) -> None:
        with self._lock:
            self.statuses[what] += 1

    def _client(self) -> None:
        for _ in range(200):
            try:
                status, code = ask(self._port)
            except (OSError, http.client.HTTPException):
                self._note("broken")
                time.sleep(0.02)
                continue
            self._note(code or str(status))
            if status == 429:
                return


def ask(port: int) -> tuple[int, str]:
    """Make one call; return its status and error code."""
    body = {"model": "openai/race", "max_tokens": _TOKENS, "messages": [{"role": "user", "content": "Go"}]}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = connection.getresponse()
        reply.read()
        return reply.status, reply.getheader("x-trimtab-error") or ""
    finally:
        connection.close()


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    answer = Scripted("Gone.", usage=Usage(3, _TOKENS), pace=Pace(before_head_s=0.05))
    with FakeServer(script=lambda _ask: answer) as server:
        yield server


def house_of(tmp_path: Path, upstream: FakeServer, rules: str = _RULES) -> House:
    home = tmp_path / "house"
    home.mkdir()
    (home / "prices.json").write_text(json.dumps(_PRICES))
    return House(home, upstream.base_url, workers=4, provider=rules)


def rows(house: House) -> list[Call]:
    """What the ledger holds, once nothing runs any more."""
    store = open_call_store(house.data, read_only=True)
    try:
        return store.find(CallQuery(limit=10_000))
    finally:
        store.close()


def spent(house: House) -> tuple[int, int]:
    """(spent, reserved) as the file says, once the dead have been looked after."""
    limiter = MappedLimiter(house.data / "limits")
    spec = BudgetSpec(name="race", amount_nusd=usd_to_nusd(5.0), period="total")
    try:
        limiter.check()
        [use] = limiter.uses(RuleBook([], [spec]).budgets)
        return use.spent_nusd, use.reserved_nusd
    finally:
        limiter.close()


def cost(calls: list[Call]) -> int:
    return sum(call.closed.cost_nusd if call.closed else call.opened.reserved_nusd for call in calls)


@pytest.mark.slow
def test_exactly_as_many_calls_as_a_budget_fits(tmp_path: Path, upstream: FakeServer) -> None:
    with house_of(tmp_path, upstream) as house:
        race = Race(house.port)
        race.start()
        race.join()
        assert race.statuses == {"200": _CALLS, "budget_exceeded": _CLIENTS}
        assert len(upstream.requests) == _CALLS
        assert house.stop() == 0
        assert [call.state for call in rows(house)] == ["ok"] * _CALLS, "a refused call has no row"
        assert spent(house) == (cost(rows(house)), 0) == (_CALLS * _CALL_NUSD, 0)
        house.start().wait_until_up()
        assert ask(house.port) == (429, "budget_exceeded"), "a restart forgets nothing"
        house.stop()
        (house.data / "limits" / "state").unlink()
        house.start().wait_until_up()
        assert ask(house.port) == (429, "budget_exceeded"), "nor does the loss of the file"
        house.stop()
        assert spent(house) == (_CALLS * _CALL_NUSD, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 3])
def test_never_more_with_kill_9_and_all_are_accounted_for(
    tmp_path: Path, upstream: FakeServer, kills: int
) -> None:
    with house_of(tmp_path, upstream) as house:
        race = Race(house.port)
        race.start()
        for number in range(kills):
            until(lambda n=number: len(upstream.requests) > 20 * (n + 1), "the race is on")
            os.kill(house.ready_pid(f"worker-{number + 1}"), signal.SIGKILL)
        race.join()
        assert race.statuses["200"] <= _CALLS
        assert len(upstream.requests) <= _CALLS
        house.stop()
        calls = rows(house)
        states = Counter(call.state for call in calls)
        assert set(states) <= {"ok", "unfinished"}
        assert states["ok"] + states["unfinished"] == _CALLS, "answered, or flagged as possibly billed"
        assert states["ok"] >= race.statuses["200"]
        assert spent(house) == (cost(calls), 0) == (_CALLS * _CALL_NUSD, 0)
