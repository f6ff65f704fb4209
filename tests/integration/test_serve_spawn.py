"""Children as processes: started, heard, reaped, without losing descriptors."""

import os
import signal
from pathlib import Path
from typing import Any

from rigs.house import until
from trimtab.config import Console, Data, Gateway, Own
from trimtab.serve.folder import Layout
from trimtab.serve.options import ChildOptions
from trimtab.serve.spawn import Child


def recorder(data: Path) -> Child:
    layout = Layout(data)
    layout.make()
    options = ChildOptions(
        kind="recorder", index=0, data_dir=str(data), config=None, gateway=Gateway(), console=Console(),
        data=Data(), own=Own(),
    )  # fmt: skip
    return Child(options, ())


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/dev/fd").iterdir()}


def test_a_child_says_when_it_is_ready_and_ends_on_sigterm(tmp_path: Path) -> None:
    child = recorder(tmp_path / "data")
    child.start()
    until(child.hear, "ready")
    assert child.ready
    assert os.getpgid(child.pid) == child.pid
    child.signal(signal.SIGTERM)
    assert until(lambda: child.reap() is not None, "ended")
    assert child.pid == 0
    assert not child.ready


def test_a_child_ends_when_its_life_line_does(tmp_path: Path) -> None:
    child = recorder(tmp_path / "data")
    child.start()
    until(child.hear, "ready")
    line = child.life_line()
    assert line is not None
    line.close()
    assert until(lambda: child.reap() is not None, "ended")


def test_deaths_in_a_row_lengthen_the_pause_and_lose_no_descriptor(tmp_path: Path) -> None:
    child = recorder(tmp_path / "data")
    before = open_descriptors()
    pauses = []
    for _ in range(3):
        child.start()
        child.kill()
        until(lambda: child.reap() is not None, "reaped")
        pauses.append(child.plan_restart())
    assert pauses == [0.05, 0.1, 0.2]
    assert child.restarts == 3
    child.failures = 5000
    assert child.plan_restart() == 5.0
    assert child.plan_restart(patient=True) == 600.0
    assert open_descriptors() == before


def test_a_second_recorder_on_the_same_log_ends_with_a_clear_error(tmp_path: Path, capfd: Any) -> None:
    first, second = recorder(tmp_path / "data"), recorder(tmp_path / "data")
    first.start()
    until(first.hear, "ready")
    second.start()
    statuses: list[int] = []

    def ended() -> bool:
        status = second.reap()
        if status is not None:
            statuses.append(status)
        return bool(statuses)

    until(ended, "the second ends")
    assert statuses == [3]
    first.kill()
    first.wait()
    said = capfd.readouterr().err
    assert "recorder" in said
    assert "Traceback" not in said
