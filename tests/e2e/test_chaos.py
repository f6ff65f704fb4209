"""Processes killed under load: no call is lost, none is stored twice, and the next start is clean."""

import os
import signal
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from rigs.audit import audit
from rigs.caller import Question, Seen
from rigs.chaos import Chaos
from rigs.house import House


def test_no_call_is_lost_when_processes_are_killed(tmp_path: Path) -> None:
    report = Chaos(tmp_path / "house", own=False, seed=1).run(single=3, all_at_once=1)
    assert not report.problems, report
    assert report.audit.answered > 100, report


def test_the_audit_sees_what_is_lost_doubled_or_wrong(tmp_path: Path) -> None:
    """A check of the check: damage to the store must show."""
    chaos = Chaos(tmp_path / "house", own=False, seed=3)
    report = chaos.run(single=0, all_at_once=0)
    assert report.audit.problems == []
    told = [seen for seen in chaos.seen if seen.answered]
    wrong = Seen(told[0].question, 200, told[0].call_id, complete=True, usage=(1, 1))
    other_id = Seen(told[1].question, 200, told[2].call_id, complete=True)
    absent = Seen(Question("call -1"), 200, "0193")
    found = audit(chaos.house.data, [*told, wrong, other_id, absent], ["call -2"])
    assert len(found.wrong) == 2
    assert len(found.lost) == 2
    (day,) = chaos.house.data.glob("calls-*.db")
    with closing(apsw.Connection(str(day))) as database:
        database.execute("DELETE FROM calls WHERE rowid IN (SELECT rowid FROM calls ORDER BY rowid LIMIT 3)")
        assert database.changes() == 3
    found = audit(chaos.house.data, told, [])
    assert len(found.lost) == 3
    assert any("rollup" in text for text in found.wrong)


def test_a_child_that_is_told_to_end_does_so_in_order(tmp_path: Path) -> None:
    """SIGTERM must reach whoever waits for it, not a thread where it ends the process at once."""
    with House(tmp_path / "house", "http://127.0.0.1:9/v1") as house:
        for name in ("recorder", "control", "worker-1"):
            old = house.ready_pid(name)
            os.kill(old, signal.SIGTERM)
            house.ready_pid(name, but=old)
        assert house.log.count("ended: ") == 3
        assert "killed by" not in house.log, house.log


@pytest.mark.slow
@pytest.mark.local
def test_no_call_is_lost_in_sixty_rounds_of_kills(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    report = Chaos(tmp_path / "house", own=True, seed=2).run(single=50, all_at_once=10)
    assert not report.problems, report
    assert report.kills.total() == 60
    assert report.audit.answered > 3000, report
