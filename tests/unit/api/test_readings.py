"""The configuration read again: what changed, who asked, what takes a restart, and what a bad file leaves alone."""

import asyncio
import hashlib
import json

import pytest

from rigs.control import ControlRig
from trimtab.serve.control.config import watch

SECRET = "sk-never-to-be-seen"
CONFIG = """
[gateway]
port = 9400
[providers.p]
base_url = "http://127.0.0.1:9/v1"
api_key = "sk-first"
"""


@pytest.fixture
def rig(tmp_path):
    with ControlRig(tmp_path, CONFIG) as rig:
        yield rig


def write(rig: ControlRig, text: str) -> None:
    (rig.folder / "trimtab.toml").write_text(text)


def readings(rig: ControlRig) -> list[dict]:
    answer = rig.ask("GET", "/api/v1/config/readings")
    assert answer.status == 200
    assert SECRET.encode() not in answer.raw
    return answer.json["readings"]


def test_what_changed_is_listed_with_who_asked_and_without_secrets(rig):
    token = rig.user("ed", "editor")
    write(rig, CONFIG.replace("sk-first", SECRET) + '[routes.r]\nmodel = "p/m"\n[data]\npayload = "hash"')
    assert rig.ask("POST", "/api/v1/reload", token=token).status == 200
    [reading] = readings(rig)
    changes = {c["name"]: (c["before"], c["after"]) for c in reading["changes"]}
    assert changes["data.payload"] == ('"full"', '"hash"')
    assert changes["routes.r.production"][0] == ""
    before, after = changes["providers.p.api_key"]
    assert before != after
    assert before.startswith('"(hidden #')
    assert (reading["actor"], reading["cause"], reading["taken"]) == ("ed", "reload", True)
    kept = (rig.layout.root / "configuration.json").read_bytes()
    assert reading["sha256"] == hashlib.sha256(kept).hexdigest()
    assert SECRET.encode() not in kept


def test_a_refused_file_changes_nothing_and_stands_in_the_history_with_its_reason(rig):
    before = rig.ask("GET", "/api/v1/snapshot").json
    kept = (rig.layout.root / "configuration.json").read_bytes()
    for text in ("[gateway]\nprot = 1", "half a fi", '[providers.p]\nkind = "none-such"'):
        write(rig, text)
        assert rig.ask("POST", "/api/v1/reload").json["error"]["code"] == "config_invalid"
        reading = readings(rig)[0]
        assert (reading["taken"], reading["changes"]) == (False, [])
        assert reading["error"]
    assert rig.ask("GET", "/api/v1/snapshot").json == before
    assert (rig.layout.root / "configuration.json").read_bytes() == kept
    assert "gateway.prot" in readings(rig)[2]["error"]


def test_settings_that_take_a_restart_are_named_and_only_those(rig):
    write(
        rig,
        CONFIG.replace("9400", "9401")
        + '[console]\nport = 9402\n[data]\ndurability = "power"\nretention_days = 3\n[own]\nenabled = false',
    )
    notes = rig.ask("POST", "/api/v1/reload").json["notes"]
    assert [note.partition(" ")[0] for note in notes] == [
        "gateway.port", "console.port", "data.durability", "own.enabled",
    ]  # fmt: skip
    assert "next start" in notes[0]
    assert "trimtab restart" in notes[2]
    write(rig, CONFIG.replace("9400", "9400\nmax_request_bytes = 5000"))
    assert rig.ask("POST", "/api/v1/reload").json["notes"] == []


def test_a_file_that_changed_while_nothing_ran_is_noted_at_the_start(tmp_path):
    with ControlRig(tmp_path, CONFIG) as rig:
        assert readings(rig) == []
    with ControlRig(tmp_path, CONFIG + "[data]\nretention_days = 9") as rig:
        [reading] = readings(rig)
        assert (reading["actor"], reading["cause"]) == ("system", "start")
        assert [c["name"] for c in reading["changes"]] == ["data.retention_days"]
    with ControlRig(tmp_path, CONFIG + "[data]\nretention_days = 9") as rig:
        assert len(readings(rig)) == 1


def test_a_damaged_memory_of_the_last_reading_keeps_nobody_from_starting(tmp_path):
    with ControlRig(tmp_path, CONFIG) as rig:
        path = rig.layout.root / "configuration.json"
    for damage in (b"", b"[]", b"{", b"\xff"):
        path.write_bytes(damage)
        with ControlRig(tmp_path, CONFIG) as rig:
            assert readings(rig) == []
            assert json.loads(path.read_bytes())["gateway"]["port"] == 9400


def test_a_secret_file_is_read_again_at_a_reload_though_the_file_names_it_as_before(tmp_path):
    (tmp_path / "key").write_text("one")
    text = CONFIG.replace("sk-first", f"${{file:{tmp_path}/key}}")
    with ControlRig(tmp_path, text) as rig:
        first = rig.run(rig.control.machine.snapshot())
        assert rig.ask("GET", "/api/v1/snapshot").json["providers"][0]["api_key"].startswith("${file:/")
        (tmp_path / "key").unlink()
        answer = rig.ask("POST", "/api/v1/reload")
        assert "providers.p: api_key: ${file:" in answer.json["error"]["message"]
        assert rig.run(rig.control.machine.snapshot()).read_us == first.read_us
        (tmp_path / "key").write_text("two")
        assert rig.ask("POST", "/api/v1/reload").status == 200
        assert rig.run(rig.control.machine.snapshot()).read_us > first.read_us


def test_nothing_is_watched_unless_the_file_asks_for_it(rig):
    assert rig.control.machine._room.readings.watched == ()
    key, text = rig.folder / "key", CONFIG.replace("sk-first", f"${{file:{rig.folder}/key}}")
    key.write_text("x")
    write(rig, text + "[reload]\nwatch = true")
    assert rig.ask("POST", "/api/v1/reload").status == 200
    assert rig.control.machine._room.readings.watched == (rig.folder / "trimtab.toml", key)


def test_a_watched_file_is_read_again_once_it_is_at_rest(tmp_path):
    path = tmp_path / "file"
    path.write_text("1")

    async def main() -> None:
        asked = asyncio.Event()
        watching = asyncio.ensure_future(watch(lambda: (path,), asked, 0.01))
        for change in ("22", None, "333", "replaced"):
            await asyncio.sleep(0.05)
            asked.clear()
            if change is None:
                path.unlink()
                await asyncio.sleep(0.05)
                assert not asked.is_set()
                continue
            if change == "replaced":
                (tmp_path / "new").write_text("4444")
                (tmp_path / "new").rename(path)
            else:
                path.write_text(change)
            async with asyncio.timeout(30):
                await asked.wait()
        watching.cancel()

    asyncio.run(main())
