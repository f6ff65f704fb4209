"""Workers are replaced while they serve."""

import asyncio
import os
import signal
import socket
import time

import pytest

from rigs.caller import Question
from rigs.house import House, until
from rigs.rolling import load, roll
from trimtab.testing import FakeServer, Pace, Scripted

ANSWER = Scripted(text="This is an answer.", pace=Pace(before_head_s=0.01, between_s=0.003))
HEALTHZ = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture
def provider():
    with FakeServer(script=ANSWER) as server:
        yield server


def test_no_call_fails_while_workers_are_replaced(provider, tmp_path) -> None:
    with House(tmp_path / "house", provider.base_url, workers=2) as house:
        before = {house.ready_pid("worker-1"), house.ready_pid("worker-2")}
        tally = asyncio.run(load(house, per_s=60, seconds=6, rolls=1))
        after = {child.pid for child in house.processes().children if child.name.startswith("worker-")}
    assert not tally.failed
    assert min(tally.answered.values()) > 50
    assert tally.closed
    assert not before & after


def test_names_take_turns(provider, tmp_path) -> None:
    with House(tmp_path / "house", provider.base_url) as house:
        for name, former in (("worker-1b", "worker-1"), ("worker-1", "worker-1b")):
            roll(house)
            assert house.ready_pid(name)
            until(lambda f=former: all(c.name != f for c in house.processes().children), f"{former} has left")
        assert house.processes().rollout.number == 2


def test_changed_settings_of_the_gateway_hold_in_the_new_workers(provider, tmp_path) -> None:
    with House(tmp_path / "house", provider.base_url) as house:
        config = house.home / "trimtab.toml"
        config.write_text(config.read_text().replace("[gateway]", "[gateway]\nidle_timeout_s = 0.3"))
        roll(house)
        with socket.create_connection(("127.0.0.1", house.port), timeout=10) as client:
            client.sendall(HEALTHZ)
            assert b"200 OK" in client.recv(4096)
            began = time.monotonic()
            assert client.recv(4096) == b""
    assert time.monotonic() - began < 5


def test_the_command_returns_once_the_workers_are_replaced(provider, tmp_path) -> None:
    with House(tmp_path / "house", provider.base_url, workers=2) as house:
        before = {house.ready_pid("worker-1"), house.ready_pid("worker-2")}
        assert "2 workers are replaced" in house.run("restart")
        assert {house.ready_pid("worker-1b"), house.ready_pid("worker-2b")}.isdisjoint(before)
        status, health = house.admin("/api/v1/health")
        assert (status, health["status"]) == (200, "ok")


def ask_for_roll(house: House) -> str:
    """Ask for a rolling restart that will not succeed; return why it did not."""
    os.kill(house.processes().supervisor, signal.SIGUSR2)
    return until(lambda: house.processes().rollout.error, "it is given up")


def test_a_configuration_that_cannot_be_used_leaves_the_workers_that_are_there(provider, tmp_path) -> None:
    with House(tmp_path / "house", provider.base_url) as house:
        worker = house.ready_pid("worker-1")
        config = house.home / "trimtab.toml"
        config.write_text(config.read_text().replace("[gateway]", "[gateway]\nidle_timeout_s = -1"))
        assert "idle_timeout_s" in ask_for_roll(house)
        assert house.ready_pid("worker-1") == worker
        assert [c.name for c in house.processes().children if c.name.startswith("worker")] == ["worker-1"]


def test_a_replacement_that_dies_leaves_the_workers_that_are_there(provider, tmp_path) -> None:
    with House(tmp_path / "house", provider.base_url) as house:
        worker = house.ready_pid("worker-1")
        (house.data / "counters" / "worker-1b.counters").mkdir()
        assert "worker-1b" in ask_for_roll(house)
        assert house.ready_pid("worker-1") == worker
        with socket.create_connection(("127.0.0.1", house.port), timeout=10) as client:
            client.sendall(HEALTHZ)
            assert b"200 OK" in client.recv(4096)


def test_a_stop_in_the_middle_ends_everything(provider, tmp_path) -> None:
    house = House(tmp_path / "house", provider.base_url, workers=2)
    with house, socket.create_connection(("127.0.0.1", house.port), timeout=10) as idle:
        idle.sendall(HEALTHZ)
        assert idle.recv(4096)  # keeps its worker from leaving at once
        os.kill(house.processes().supervisor, signal.SIGUSR2)
        until(lambda: any(child.turn for child in house.processes().children), "it has begun")
        assert house.stop() == 0
        assert not house.alive()


def test_a_worker_that_is_killed_as_it_leaves_has_nothing_in_flight(tmp_path) -> None:
    """No worker of its name follows it, which would take back what it had counted."""
    slow = Scripted(text=[f"word {n} " for n in range(200)], pace=Pace(between_s=0.2))
    with FakeServer(script=slow) as provider, House(tmp_path / "house", provider.base_url) as house:
        with socket.create_connection(("127.0.0.1", house.port), timeout=10) as client:
            client.sendall(Question("slow", stream=True).http())
            assert b" 200 " in client.recv(100)
            roll(house)
            leaving = house.child("worker-1")
            assert leaving.turn == "leaving"
            in_flight = lambda: house.admin("/api/v1/health")[1]["counters"]["in_flight"]  # noqa: E731
            assert in_flight() == 1
            os.kill(leaving.pid, signal.SIGKILL)
            until(lambda: in_flight() == 0, "nothing is in flight")
