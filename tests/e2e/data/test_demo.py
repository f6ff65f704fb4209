"""The demo of a running installation, whose other project has data and goes on being called."""

import itertools
import json
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


@pytest.mark.slow
def test_the_demo_comes_and_goes_twice_beside_a_project_in_use(tmp_path: Path, upstream: FakeServer) -> None:
    house = House(tmp_path / "house", upstream.base_url, options=("--demo",))
    numbers = itertools.count()
    sizes: list[int] = []
    with house:
        house.run("projects", "set", "shop", "--title", "Shop")
        key = house.run("keys", "create", "--project", "shop").strip()

        def of_shop(_: int) -> Question:
            number = next(numbers)
            marker = f"words of the shop {number}"
            return Question(
                marker, stream=number % 2 == 0, usage=usage_of(marker), comment=f"fine {number}",
                headers=(("authorization", f"Bearer {key}"), ("x-trimtab-user", f"user-{number % 3}")),
            )  # fmt: skip

        def exported(project: str) -> list[str]:
            return house.run("export", "--project", project).splitlines()

        with Traffic(house.port, [Asker(of_shop)] * 4) as first:
            first.wait_for(80)
        judged = sum(one.judged_us > 0 for one in first.seen)
        until(
            lambda: sum("fine " in line.split('"feedback"')[-1] for line in exported("shop")) == judged,
            "stored",
        )
        before = exported("shop")
        assert len(before) == len(first.seen)
        day_user = [
            row for row in house.admin("/api/v1/rollup?cube=day_user")[1]["rows"] if row["key"][0] == "shop"
        ]

        with Traffic(house.port, [Asker(of_shop, 0.05)] * 3) as meanwhile:
            for time in range(2):
                if time:
                    assert json.loads(house.run("demo", "fill", "--json"))["calls"] > 3000
                until(lambda: len(exported("demo")) > 3000, "it is there", 60)
                size = sum(path.stat().st_size for path in house.data.rglob("*") if path.is_file())
                assert 1_000_000 < size < 60_000_000, size
                assert exported("shop")[-len(before) :] == before
                assert "removed" in house.run("demo", "remove")
                assert exported("demo") == []
                sizes.append(sum(path.stat().st_size for path in house.data.glob("calls-*.db")))
                assert exported("shop")[-len(before) :] == before, "byte for byte"
                for noun in ("projects", "keys"):
                    assert "demo" not in house.run(noun, "list", "--json")
        assert not [one for one in (*first.seen, *meanwhile.seen) if not one.answered]
        ids = {json.loads(line)["opened"]["id"] for line in before}
        for row in house.admin("/api/v1/rollup?cube=day_user")[1]["rows"]:
            assert row["key"][0] == "shop"
        assert sum(row["calls"] for row in day_user) == len(ids)
        assert house.stop() == 0
    found = audit(house.data, [*first.seen, *meanwhile.seen], [])
    assert not found.problems, found
    assert found.rows == len(first.seen) + len(meanwhile.seen)
    assert sizes[1] < sizes[0] * 1.3, "the room of what was removed is used again"
