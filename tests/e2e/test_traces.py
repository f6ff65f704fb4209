"""`@observe` with a whole Trimtab: nested functions, coroutines, threads and errors; killed recorders; erasing."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rigs.house import House, until
from trimtab import AsyncClient, Client, Tracer
from trimtab.sdk import in_this_span
from trimtab.testing import FakeServer


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("traces") / "house"
    with FakeServer() as upstream, House(home, upstream.base_url) as house:
        yield house


@pytest.fixture
def url(house: House) -> str:
    return f"http://127.0.0.1:{house.port}/v1"


@pytest.fixture
def tracer(url: str) -> Iterator[Tracer]:
    tracer = Tracer(url, "")
    yield tracer
    tracer.close()


def newest(house: House, name: str) -> str:
    """Wait for a trace of that name to be listed; return its id."""

    def look() -> str:
        rows = house.admin("/api/v1/traces?limit=500")[1]["traces"]
        return next((row["trace_id"] for row in rows if row["name"] == name), "")

    return until(look, f"the trace {name} is listed")


def shape(house: House, trace_id: str) -> dict[str, tuple[str, str]]:
    """Return name → (name of the span around it, error) of a trace's spans; calls are named by their model."""
    reply = house.admin(f"/api/v1/traces/{trace_id}")[1]
    names = {span["span_id"]: span["name"] for span in reply["spans"]} | {"": ""}
    found = {span["name"]: (names[span["parent_id"]], span["error"]) for span in reply["spans"]}
    calls = ((call["opened"]["user"], call["opened"]["trace_parent"]) for call in reply["calls"])
    return found | {f"call {user}": (names[parent[36:52]], "") for user, parent in calls}


def ask(client: Client, user: str) -> None:
    client.generate("hello", user=user)


def test_functions_coroutines_threads_and_errors_make_one_trace(
    house: House, url: str, tracer: Tracer
) -> None:
    client = Client(url, "", model="openai/m")

    @tracer.observe(name="fetch")
    async def fetch() -> None:
        async with AsyncClient(url, "", model="openai/m") as asking:
            await asking.generate("hello", user="async")

    @tracer.observe(name="gather")
    async def gather() -> None:
        await asyncio.gather(fetch(), asyncio.to_thread(ask, client, "to-thread"))

    @tracer.observe(name="rank")
    def rank(number: int) -> None:
        ask(client, f"pool-{number}")

    @tracer.observe(name="break")
    def breaks() -> None:
        raise LookupError("nothing found")

    @tracer.observe(name="whole", capture_args=True, capture_result=True)
    def whole(question: str) -> str:
        ask(client, "direct")
        asyncio.run(gather())
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(in_this_span(rank), range(2)))
        with pytest.raises(LookupError):
            breaks()
        return "done"

    whole("a question of 京都")
    assert tracer.flush().accepted == 6
    client.close()
    trace_id = newest(house, "whole")
    until(lambda: len(shape(house, trace_id)) == 10, "everything is stored")
    assert shape(house, trace_id) == {
        "whole": ("", ""),
        "gather": ("whole", ""),
        "fetch": ("gather", ""),
        "rank": ("whole", ""),
        "break": ("whole", "LookupError"),
        "call direct": ("whole", ""),
        "call async": ("fetch", ""),
        "call to-thread": ("gather", ""),
        "call pool-0": ("rank", ""),
        "call pool-1": ("rank", ""),
    }
    [row] = [r for r in house.admin("/api/v1/traces")[1]["traces"] if r["trace_id"] == trace_id]
    assert (row["spans"], row["errors"], row["calls"], row["project"]) == (6, 1, 5, "default")
    shown = house.run("trace", trace_id, "--facts")
    assert "京都" in shown
    assert "LookupError" in shown


def test_a_recorder_that_is_killed_loses_and_doubles_no_span(house: House, tracer: Tracer) -> None:
    names = []
    for round_ in range(3):
        for number in range(200):
            with tracer.span(f"survivor-{round_}", number=number):
                pass
        names.append(f"survivor-{round_}")
        assert tracer.flush().waiting == 0
        pid = house.ready_pid("recorder")
        os.kill(pid, signal.SIGKILL)
        house.ready_pid("recorder", but=pid)

    def stored() -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for path in house.data.glob("calls-*.db"):
            link = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            found += link.execute(
                "SELECT name, count(*) FROM span WHERE name LIKE 'survivor-%' GROUP BY name"
            )
            link.close()
        return sorted(found)

    until(lambda: stored() == [(name, 200) for name in names], "each span is stored, once")


def test_erasing_a_user_erases_what_was_done_for_them(house: House, url: str, tracer: Tracer) -> None:
    client = Client(url, "", model="openai/m")
    for user in ("quagga", "another"):
        with tracer.span(f"serve-{user}", words=f"the words of {user}"):
            client.generate("hello", user=user)
    tracer.flush()
    client.close()
    gone, kept = newest(house, "serve-quagga"), newest(house, "serve-another")
    house.run("erase", "--user", "quagga", "--yes")
    assert house.admin(f"/api/v1/traces/{gone}")[0] == 404
    assert house.admin(f"/api/v1/traces/{kept}")[0] == 200
    house.run("backup", str(house.home / "copy"))
    for folder in (house.data, house.home / "copy"):
        assert traces(folder, b"the words of quagga") == []
    assert traces(house.data, b"another") != []


def traces(folder: Path, marker: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and marker in path.read_bytes()]
