"""Calls exported from one running installation and imported into another."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from rigs.caller import Question
from rigs.house import House, until
from rigs.traffic import Asker, Traffic, answer, usage_of
from trimtab.testing import FakeServer


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    with FakeServer(script=answer) as server:
        yield server


def question(number: int) -> Question:
    marker = f'wörter 東京 w{number}x "quoted" \\ {number}'
    headers = (
        ("x-trimtab-user", f"user-{number % 5}"),
        ("x-trimtab-session", f"talk-{number % 7}"),
        ("x-trimtab-tags", "beta,vip"),
        ("traceparent", f"00-{number + 1:032x}-{number + 1:016x}-01"),
        ("user-agent", f"app/{number}"),
    )
    comment = f"comment {number}" if number % 3 == 0 else ""
    return Question(marker, stream=number % 2 == 0, usage=usage_of(marker), headers=headers, comment=comment)


def exported(house: House) -> list[str]:
    return house.run("export").splitlines()


def sums(house: House) -> dict[str, list[dict[str, object]]]:
    cubes = ("hour_model", "hour_prompt", "day_user", "minute_project")
    return {cube: house.admin(f"/api/v1/rollup?cube={cube}")[1]["rows"] for cube in cubes}


def sessions(house: House) -> list[dict[str, object]]:
    return house.admin("/api/v1/sessions?limit=500")[1]["sessions"]


@pytest.mark.slow
def test_what_is_exported_while_both_run_is_imported_whole_and_once(
    tmp_path: Path, upstream: FakeServer
) -> None:
    here, there = (House(tmp_path / name, upstream.base_url, workers=2) for name in ("here", "there"))
    file = tmp_path / "calls.jsonl"
    with here, there:
        for project, payload in (("hashed", "hash"), ("silent", "none")):
            here.run("projects", "set", project, "--payload", payload)
        keys = [here.run("keys", "create", "--project", name).strip() for name in ("hashed", "silent")]

        def of_project(number: int) -> Question:
            asked = question(number)
            key = ("authorization", f"Bearer {keys[number % 2]}")
            return Question(asked.marker, stream=asked.stream, headers=(*asked.headers, key))

        with Traffic(here.port, [Asker(question)] * 6 + [Asker(of_project)] * 2) as traffic:
            traffic.wait_for(300)
        made = len(traffic.seen)
        judged = sum(one.judged_us > 0 for one in traffic.seen)
        until(lambda: len(exported(here)) == made, "all are stored")
        until(lambda: sum(len(json.loads(x)["feedback"]) for x in exported(here)) == judged, "feedback too")
        here.run("export", "--out", str(file))
        lines = exported(here)
        assert Counter(json.loads(line)["opened"]["payload"] for line in lines).keys() == {
            "full",
            "hash",
            "none",
        }

        with Traffic(
            there.port, [Asker(lambda n: Question(f"other {n}", usage=usage_of(f"other {n}")))]
        ) as own:
            for _ in range(2):
                assert json.loads(there.run("import", str(file), "--json"))["read"] == made
            own.wait_for(20)
        until(lambda: len(exported(there)) == made + len(own.seen), "all are stored there")
        there.run("import", str(file))
        there.run("erase", "--session", "none-such", "--yes")  # carried out after all that came before it
        mine = set(lines)
        got = [line for line in exported(there) if line in mine]
        assert got == lines, "every field, byte for byte, once, in the same order"
        assert len(exported(there)) == made + len(own.seen)
        assert [row for row in sessions(there) if row["session"]] == sessions(here)
        assert sums(there)["day_user"] == sums(here)["day_user"]
        found = there.admin(f"/api/v1/calls?text={quote('東京')}&limit=1000")[1]["calls"]
        assert len(found) == sum(json.loads(line)["opened"]["payload"] == "full" for line in lines)

        damaged = tmp_path / "damaged.jsonl"
        broken = [*lines[:40], '{"format": 1, "opened": {', *lines[40:]]
        damaged.write_text("\n".join(broken) + "\n")
        third = House(tmp_path / "third", upstream.base_url)
        with third:
            said = third.run("import", str(damaged), code=2)
            assert "line 41" in said
            assert "what stands before it is imported" in said
            until(lambda: len(exported(third)) == 40, "what stands before the line is there")
            damaged.write_text("\n".join(lines) + "\n")
            third.run("import", str(damaged))
            until(lambda: exported(third) == lines, "nothing is lost, nothing doubled")


@pytest.mark.slow
def test_a_table_has_every_field_of_every_call(tmp_path: Path, upstream: FakeServer) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    house = House(tmp_path / "house", upstream.base_url)
    with house:
        with Traffic(house.port, [Asker(question)] * 4) as traffic:
            traffic.wait_for(100)
            house.run("export", "--format", "parquet", "--out", str(tmp_path / "meanwhile.parquet"))
        until(lambda: len(exported(house)) == len(traffic.seen), "all are stored")
        house.run("export", "--format", "parquet", "--out", str(tmp_path / "calls.parquet"))
        calls = {json.loads(line)["opened"]["id"]: json.loads(line) for line in exported(house)}
        table = parquet.read_table(tmp_path / "calls.parquet").to_pylist()
    assert parquet.read_table(tmp_path / "meanwhile.parquet").num_rows >= 50
    assert [row["id"] for row in table] == list(calls)
    for row in table:
        line = calls[row["id"]]
        opened, closed = line["opened"], line["closed"]
        renamed = {"model_answered": "model", "release_answered": "release", "epoch_answered": "epoch"}
        for name, value in row.items():
            if name in ("id", "state", "latency_ms"):
                continue
            if name in ("request", "response", "variables"):
                told = closed[name] if name == "response" else opened[name]
                assert (json.loads(value) if value else None) == told, name
            elif name in ("attempts", "findings"):
                assert json.loads(value) == closed[name]
            elif name == "feedback":
                assert json.loads(value) == line["feedback"]
            elif name in renamed:
                assert value == closed[renamed[name]]
            elif name in opened:
                assert value == opened[name], name
            else:
                assert value == (closed | closed["usage"])[name], name
