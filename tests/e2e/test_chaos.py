"""Processes killed under load: no call is lost, none is stored twice, and the next start is clean."""

from pathlib import Path

import pytest

from rigs.chaos import Chaos


def test_no_call_is_lost_when_processes_are_killed(tmp_path: Path) -> None:
    report = Chaos(tmp_path / "house", own=False, seed=1).run(single=3, all_at_once=1)
    assert not report.problems, report
    assert report.audit.answered > 100, report


@pytest.mark.slow
@pytest.mark.local
def test_no_call_is_lost_in_sixty_rounds_of_kills(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    report = Chaos(tmp_path / "house", own=True, seed=2).run(single=50, all_at_once=10)
    assert not report.problems, report
    assert report.kills.total() == 60
    assert report.audit.answered > 3000, report
