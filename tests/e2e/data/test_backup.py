"""Backups of an installation under load, each restored and started; and backups cut short by kill -9."""

import http.client
import itertools
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from rigs.audit import audit
from rigs.caller import Question, Seen
from rigs.clerk import Clerk
from rigs.house import House, until
from rigs.traffic import Asker, Traffic, answer, usage_of
from trimtab.storage import read_line
from trimtab.testing import FakeServer
from trimtab.types import Call

SEALED = "sk-sealed-4c1f-of-the-backup"
NUMBERS = itertools.count()
CONSENT = "[outbound]\nprivate_addresses = true"


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    with FakeServer(script=answer) as server:
        yield server


def question(number: int) -> Question:
    marker = f"words w{number}x {number}"
    headers = (("x-trimtab-user", f"user-{number % 7}"), ("x-trimtab-session", f"talk-{number % 11}"))
    comment = f"comment c{number}y" if number % 5 == 0 else ""
    return Question(
        marker, stream=number % 2 == 0, usage=usage_of(marker), headers=headers, comment=comment
    )  # fmt: skip


def prepare(house: House, upstream: FakeServer) -> None:
    """Give an installation a provider with a sealed key."""
    fields = {"base_url": upstream.base_url, "api_key": SEALED}
    status, said = house.admin("/api/v1/providers/sealed", fields, method="PUT")
    assert status == 200, said


def ask(house: House, model: str, key: str = "") -> int:
    """Make a call that no other is like."""
    words = f"afterwards {next(NUMBERS)}"
    link = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": words}]})
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        link.request("POST", "/v1/chat/completions", body, headers)
        return link.getresponse().status
    finally:
        link.close()


def is_sound(folder: Path) -> None:
    """Every database of a folder passes SQLite's own check, and nothing half-written lies about."""
    assert not [path for path in folder.rglob("*") if path.name.endswith((".partial", ".tmp"))]
    for path in folder.rglob("*.db"):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        assert connection.pragma("integrity_check") == "ok", path
        connection.close()


def holds_what_was_before(
    house: House, began_us: int, seen: list[Seen], clerk: Clerk, upstream: FakeServer
) -> None:
    """Start a restored folder, and look for all that had ended when its backup began."""
    before = [one for one in seen if one.answered and one.ended_us < began_us]
    assert before
    with house:
        told = house.run("export").encode().splitlines()
        rows = [row for row in map(read_line, told) if isinstance(row, Call)]
        stored = {row.id: row for row in rows}
        assert len(stored) == len(rows)
        for one in before:
            assert stored[one.call_id].state == "ok"
        judged = {f.comment for row in rows for f in row.feedback}
        assert {one.question.comment for one in before if 0 < one.judged_us < began_us} <= judged
        for one in random.sample(before, 20):
            word = one.question.marker.split()[1]
            found = house.admin(f"/api/v1/calls?text={word}")[1]["calls"]
            assert [row["id"] for row in found] == [one.call_id]
        for key in clerk.before(began_us, "key")[-3:]:
            assert ask(house, "openai/m", key.secret) == 200
        for key in [one for one in clerk.made if one.gone_us and one.gone_us < began_us - 1_000_000][-3:]:
            assert ask(house, "openai/m", key.secret) == 401
        projects = {one["name"] for one in house.admin("/api/v1/projects")[1]["projects"]}
        assert {one.name for one in clerk.before(began_us, "project")} <= projects
        for user in clerk.before(began_us, "user")[-1:]:
            status, signed = house.admin("/api/v1/login", {"name": user.name, "password": user.secret})
            assert status == 201, signed
        assert ask(house, "sealed/m") == 200
        newest = {name.lower(): value for name, value in upstream.requests[-1].headers}
        assert newest["authorization"] == f"Bearer {SEALED}"
        assert house.stop() == 0
    found = audit(house.data, before, [])
    assert not found.problems, found
    is_sound(house.data)


@pytest.mark.slow
def test_a_backup_under_load_restores_to_a_consistent_state(tmp_path: Path, upstream: FakeServer) -> None:
    house = House(tmp_path / "house", upstream.base_url, workers=2, provider=CONSENT)
    taken: list[tuple[Path, int]] = []
    with house:
        prepare(house, upstream)
        with Traffic(house.port, [Asker(question)] * 10) as traffic, Clerk(house) as clerk:
            for number in range(4):
                traffic.wait_for(250)
                copy = tmp_path / f"copy-{number}"
                if number % 2:
                    status, done = house.admin("/api/v1/backup", {"target": str(copy)})
                    assert status == 201, done
                else:
                    done = json.loads(house.run("backup", str(copy), "--with-secret", "--json"))
                taken.append((copy, done["began_us"]))
        assert not [one for one in traffic.seen if not one.answered]
        assert house.run("restore", str(copy), code=2).count("not empty") == 1
        assert house.stop() == 0
    for number, (copy, began_us) in enumerate(taken):
        is_sound(copy)
        restored = House(tmp_path / f"restored-{number}", upstream.base_url, provider=CONSENT).furnish()
        restored.run("restore", str(copy))
        is_sound(restored.data)
        if number % 2:  # the admin API leaves the secret out: it is copied apart, as the page on backups says
            assert not (restored.data / "secret.key").exists()
            shutil.copy(house.data / "secret.key", restored.data / "secret.key")
        holds_what_was_before(restored, began_us, traffic.seen, clerk, upstream)


@pytest.mark.slow
def test_kill_9_in_a_backup_leaves_nothing_broken(tmp_path: Path, upstream: FakeServer) -> None:
    """Of the command, and of the control process while the admin API makes one."""
    draw = random.Random(11)
    copy = tmp_path / "copy"
    house = House(tmp_path / "house", upstream.base_url, provider=CONSENT)
    with house:
        prepare(house, upstream)
        house.run("demo", "fill")
        with Traffic(house.port, [Asker(question)] * 6) as traffic:
            traffic.wait_for(50)
            for number in range(8):
                by_api = number % 2 == 1
                if by_api:
                    process = None
                    token = (house.data / "run" / "admin.token").read_text()
                    link = http.client.HTTPConnection("127.0.0.1", house.console_port, timeout=30)
                    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
                    link.request("POST", "/api/v1/backup", json.dumps({"target": str(copy)}), headers)
                    pid = house.ready_pid("control")
                else:
                    process = house.spawn("backup", str(copy))
                    pid = process.pid
                until(lambda: copy.exists() or list(tmp_path.glob(".copy.*")), "it has begun")
                time.sleep(draw.random() * 0.02)  # any moment will do
                os.kill(pid, signal.SIGKILL)
                if process is None:
                    link.close()
                    house.ready_pid("control", but=pid)
                else:
                    process.communicate()
                if copy.exists():  # it was whole before the signal came
                    is_sound(copy)
                    shutil.rmtree(copy)
                for draft in tmp_path.glob(".copy.*"):
                    assert "is no backup" in house.run("restore", str(draft), code=2)
        assert not [one for one in traffic.seen if not one.answered]
        done = json.loads(house.run("backup", str(copy), "--with-secret", "--json"))
        assert not list(tmp_path.glob(".copy.*")), "the next backup clears away what was cut short"
        assert house.stop() == 0
    is_sound(house.data)
    restored = House(tmp_path / "restored", upstream.base_url, provider=CONSENT).furnish()
    restored.run("restore", str(copy))
    holds_what_was_before(restored, done["began_us"], traffic.seen, Clerk(restored), upstream)
