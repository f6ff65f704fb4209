"""The demo of a Trimtab that runs."""

import json
from pathlib import Path

from rigs.house import House, until


def calls(house: House, project: str = "demo") -> int:
    return len(json.loads(house.run("calls", "--project", project, "--limit", "10000", "--json")))


def test_up_fills_it_once_and_one_command_removes_it(tmp_path: Path) -> None:
    house = House(tmp_path / "house", "http://127.0.0.1:9/v1", options=("--demo",))
    with house:
        assert "demo: 4," in house.log
        there = calls(house)
        assert there > 3000
        assert house.stop() == 0
        house.start().wait_until_up()
        assert "there already" in house.log
        assert calls(house) == there
        assert "removed" in house.run("demo", "remove")
        assert calls(house) == 0
        assert "There is no demo" in house.run("demo", "remove")
        assert "demo" not in house.run("projects", "list")


def test_it_is_filled_and_removed_while_trimtab_runs_and_while_it_does_not(tmp_path: Path) -> None:
    house = House(tmp_path / "house", "http://127.0.0.1:9/v1")
    with house:
        made = json.loads(house.run("demo", "fill", "--json"))["calls"]
        until(lambda: calls(house) == made, "the recorder has stored them")
        assert json.loads(house.run("demo", "fill", "--json"))["calls"] == 0
        assert house.stop() == 0
        assert calls(house) == made
        assert "removed" in house.run("demo", "remove")
        assert calls(house) == 0
        assert json.loads(house.run("demo", "fill", "--json"))["calls"] > 3000
