"""Files of other formats: `migrate --dry-run` changes nothing, newer ones are refused with what to do."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.audit import audit
from rigs.caller import Question
from rigs.house import House, until
from rigs.traffic import Asker, Traffic, answer, usage_of
from trimtab.testing import FakeServer


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    with FakeServer(script=answer) as server:
        yield server


def question(number: int) -> Question:
    return Question(f"words {number}", stream=number % 2 == 0, usage=usage_of(f"words {number}"))


def prints(folder: Path) -> dict[str, str]:
    """Every file of a folder with the SHA-256 of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def set_format(path: Path, number: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def format_of(path: Path) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


@pytest.fixture
def used(tmp_path: Path, upstream: FakeServer) -> tuple[House, Traffic]:
    """An installation that has answered some calls, and ended."""
    house = House(tmp_path / "house", upstream.base_url)
    with house:
        house.run("projects", "set", "acme", "--title", "Acme")
        with Traffic(house.port, [Asker(question)] * 4) as traffic:
            traffic.wait_for(60)
        assert house.stop() == 0
    return house, traffic


@pytest.mark.slow
def test_a_dry_run_changes_no_byte_and_works_while_trimtab_runs(used: tuple[House, Traffic]) -> None:
    house, traffic = used
    before = prints(house.data)
    assert json.loads(house.run("migrate", "--dry-run", "--json")) == []
    assert prints(house.data) == before
    with house:
        until(lambda: house.admin("/api/v1/health")[1]["status"] == "ok", "it runs")
        assert json.loads(house.run("migrate", "--dry-run", "--json")) == []
        assert house.stop() == 0
    found = audit(house.data, traffic.seen, [])
    assert not found.problems, found


@pytest.mark.slow
@pytest.mark.parametrize("what", ["app.db", "day", "log", "snapshot"])
def test_a_newer_format_is_refused_with_what_to_do_and_left_alone(
    used: tuple[House, Traffic], what: str
) -> None:
    house, _ = used
    (day,) = house.data.glob("calls-*.db")
    path = {"app.db": house.data / "app.db", "day": day}.get(what)
    if path is not None:
        set_format(path, format_of(path) + 1)
    elif what == "snapshot":
        path = house.data / "snapshot" / "snapshot.json"
        manifest = json.loads(path.read_bytes())
        path.write_text(json.dumps(manifest | {"format": manifest["format"] + 1}))
    else:
        path = newer_segment(house)
    content = path.read_bytes()
    if what in ("app.db", "day"):
        for words in (("migrate", "--dry-run"), ("migrate",)):
            said = house.run(*words, code=3)
            assert "a newer Trimtab wrote it" in said.replace("\n", " ")
        assert path.read_bytes() == content
    house.start()
    assert house.process is not None
    until(lambda: "newer Trimtab" in house.log, "it is said")
    said = next(line for line in house.log.splitlines() if "newer Trimtab" in line)
    assert path.name in said
    assert any(word in said.lower() for word in ("install", "start the", "run the")), said
    house.__exit__()
    assert path.read_bytes() == content, "it is left alone"


def newer_segment(house: House) -> Path:
    """Put a segment into the log that says it is of the next format."""
    from trimtab.ledger import LogWriter

    writer = LogWriter(house.data / "log", "worker-9")
    writer.close()
    (path,) = (house.data / "log").glob("worker-9-*.log")
    content = bytearray(path.read_bytes())
    # After the magic stands the format, and a check of all before it in the last four of 54 bytes.
    content[8:10] = (int.from_bytes(content[8:10], "little") + 1).to_bytes(2, "little")
    content[50:54] = zlib.crc32(content[:50]).to_bytes(4, "little")
    path.write_bytes(content)
    return path
