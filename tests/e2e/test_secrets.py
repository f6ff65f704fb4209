"""A key that is entered at run time is used by the workers, and stands nowhere but sealed; calls are erased."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.house import House, until
from trimtab.testing import FakeServer

SECRET = "sk-planted-7d1f0c55aa-do-not-show"
PASSWORD = "a planted password 91c"
CONSENT = "[outbound]\nprivate_addresses = true"


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, upstream: FakeServer) -> Iterator[House]:
    house = House(tmp_path / "house", upstream.base_url, provider=CONSENT)
    with house:
        yield house


def trimtab(house: House, *words: str, stdin: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [Path(sys.executable).parent / "trimtab", *words, "--data", house.data],
        input=stdin, capture_output=True, text=True, cwd=house.home, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, (words, done.stdout, done.stderr)
    with (house.home / "said").open("a") as said:
        said.write(done.stdout + done.stderr)
    return done.stdout


def ask(house: House, **fields: object) -> dict[str, object]:
    import http.client

    link = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
    body = json.dumps({"model": "up/m", "messages": [{"role": "user", "content": "hello"}]} | fields)
    link.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    reply = link.getresponse()
    text = reply.read()
    link.close()
    assert reply.status == 200, text
    return json.loads(text)


def key_sent(upstream: FakeServer) -> str:
    """What the newest request showed."""
    headers = {name.lower(): value for name, value in upstream.requests[-1].headers}
    return headers["authorization"]


def listed(house: House) -> str:
    """Arguments and environments of all processes of the house, as `ps` and its like show them."""
    shown = ""
    for pid in house.alive():
        shown += Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        shown += Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    return shown


def test_a_planted_key_works_and_is_found_nowhere(house: House, upstream: FakeServer) -> None:
    added = trimtab(house, "providers", "add", "up", "--base-url", upstream.base_url, stdin=SECRET + "\n")
    assert "is added" in added
    ask(house)
    assert key_sent(upstream) == f"Bearer {SECRET}"
    assert json.loads(trimtab(house, "providers", "test", "up", "--json"))["ok"]
    rotated = SECRET + "-2"
    trimtab(house, "providers", "rotate", "up", stdin=rotated)
    ask(house)
    assert key_sent(upstream) == f"Bearer {rotated}"

    trimtab(house, "users", "create", "ann", "--role", "editor", stdin=PASSWORD + "\n")
    trimtab(house, "providers", "add", "up", "--base-url", "https://169.254.169.254/v1", stdin=SECRET, code=2)
    trimtab(house, "providers", "list")
    trimtab(house, "audit", "--json")
    trimtab(house, "settings", "set", "retry.attempts", "2")
    # The process that opened the key is replaced by one that opens it again.
    pid = house.ready_pid("worker-1")
    os.kill(pid, signal.SIGKILL)
    house.ready_pid("worker-1", but=pid)
    ask(house)
    assert SECRET not in listed(house)
    assert PASSWORD not in listed(house)
    until(lambda: house.admin("/api/v1/calls")[1]["calls"], "a call is stored")
    shown = [
        json.dumps(house.admin(f"/api/v1/{page}")[1])
        for page in ("providers", "snapshot", "audit", "calls?payload=1", "health", "users", "settings")
    ]
    house.stop()
    assert not [text for text in shown if SECRET in text or PASSWORD in text]
    for path in house.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert SECRET.encode() not in content, path
            assert PASSWORD.encode() not in content, path
    assert (house.data / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_control_process_that_dies_signs_nobody_out(house: House) -> None:
    before = (house.data / "run" / "admin.token").read_text()
    pid = house.ready_pid("control")
    os.kill(pid, signal.SIGKILL)
    house.ready_pid("control", but=pid)
    assert (house.data / "run" / "admin.token").read_text() == before
    assert house.admin("/api/v1/me") == (200, {"user": "admin-token", "role": "admin"})
    assert before not in house.log


def test_erasing_leaves_nothing_and_projects_go_with_their_calls(house: House, upstream: FakeServer) -> None:
    for user in ("alice", "bob"):
        ask(house, model="openai/m", user=user, messages=[{"role": "user", "content": f"i am {user}-x1"}])
    trimtab(house, "projects", "set", "acme")
    key = trimtab(house, "keys", "create", "--project", "acme").strip()
    import http.client

    link = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
    body = json.dumps({"model": "openai/m", "messages": [{"role": "user", "content": "acme-only-words"}]})
    link.request(
        "POST", "/v1/chat/completions", body,
        {"content-type": "application/json", "authorization": f"Bearer {key}"},
    )  # fmt: skip
    assert link.getresponse().status == 200
    link.close()
    until(lambda: len(house.admin("/api/v1/calls")[1]["calls"]) == 3, "all are stored")
    trimtab(house, "erase", "--user", "alice", code=2)
    assert "1 calls erased" in trimtab(house, "erase", "--user", "alice", "--yes")
    left = json.dumps(house.admin("/api/v1/calls?payload=1")[1])
    assert "alice" not in left
    assert "bob-x1" in left
    trimtab(house, "projects", "remove", "acme", code=2)
    trimtab(house, "projects", "remove", "acme", "--yes")
    assert "acme-only-words" not in json.dumps(house.admin("/api/v1/calls?payload=1")[1])
    (row,) = house.admin("/api/v1/calls")[1]["calls"]
    feedback = house.admin(f"/api/v1/calls/{row['id']}")[1]["feedback"]
    assert feedback == []
    house.stop()
    for path in house.data.rglob("*"):
        if path.is_file() and path.suffix != ".counters":
            content = path.read_bytes()
            assert b"alice" not in content, path
            assert b"acme-only-words" not in content, path


def test_every_command_of_administration(house: House, upstream: FakeServer) -> None:
    def rows(*words: str) -> list[dict[str, object]]:
        return json.loads(trimtab(house, *words, "--json"))

    assert trimtab(house, "users", "list") == ""
    made = json.loads(trimtab(house, "users", "create", "ann", "--json", stdin=PASSWORD))
    assert made["role"] == "viewer"
    trimtab(house, "users", "create", "bob", stdin="short", code=2)
    trimtab(house, "users", "create", "bob", stdin="", code=2)
    trimtab(house, "users", "change", "ann", "--role", "editor", "--disable")
    assert [(row["role"], row["disabled"]) for row in rows("users", "list")] == [("editor", True)]
    trimtab(house, "users", "change", "ann", "--enable", "--password", stdin=PASSWORD + "2")
    assert "ann   editor  no" in trimtab(house, "users", "list")
    trimtab(house, "users", "remove", "ann")
    trimtab(house, "users", "remove", "ann", code=1)

    trimtab(house, "projects", "set", "acme", "--payload", "hash", "--title", "Acme")
    trimtab(house, "projects", "set", "acme", "--retention-days", "7")
    (acme,) = [row for row in rows("projects", "list") if row["name"] == "acme"]
    assert (acme["payload"], acme["title"], acme["retention_days"]) == ("hash", "Acme", 7)
    assert "Acme" in trimtab(house, "projects", "list")
    assert house.admin("/api/v1/snapshot")[1]["policy"]["project_retention"] == {"acme": 7}

    trimtab(house, "providers", "add", "local", "--base-url", upstream.base_url, "--no-key", "--model", "m")
    assert [row["owner"] for row in rows("providers", "list")] == ["file", "store"]
    assert "local" in trimtab(house, "providers", "list")
    assert "answers in" in trimtab(house, "providers", "test", "local")
    trimtab(house, "providers", "remove", "local")
    trimtab(house, "providers", "remove", "openai", code=2)
    trimtab(house, "providers", "test", "local", code=1)

    trimtab(house, "settings", "set", "data.retention_days", "30")
    assert house.admin("/api/v1/snapshot")[1]["policy"]["retention_days"] == 30
    trimtab(house, "settings", "set", "data.retention_days", "")
    trimtab(house, "settings", "set", "own.enabled", "true", code=1)
    trimtab(house, "settings", "set", "data.disk_gb", "-1", code=2)
    assert "data.retention_days" in trimtab(house, "settings", "list")
    assert [(row["before"], row["after"]) for row in rows("settings", "history")] == [("30", ""), ("", "30")]
    assert "admin-token" in trimtab(house, "settings", "history")

    actions = [row["action"] for row in rows("audit")]
    assert actions[-1] == "user.create"
    assert {"user.change", "user.remove", "project.create", "provider.remove", "setting.change"} <= set(
        actions
    )
    assert {row["action"] for row in rows("audit", "--action", "user.")} == {
        "user.create", "user.change", "user.remove",
    }  # fmt: skip
    assert "project.create" in trimtab(house, "audit", "--limit", "1000")
