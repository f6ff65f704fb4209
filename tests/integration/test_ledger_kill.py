"""Promise 1 with real processes, a real store, and kill -9 at random moments."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from trimtab.ledger import Recorder
from trimtab.ledger.frames import HEADER_BYTES
from trimtab.storage.sqlite import open_call_store

WRITER = """
import os, sys, random
from pathlib import Path
from trimtab.ledger import LogWriter
from trimtab.types import Closed, Opened, SpanEnded, Usage, new_id
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(seed)
log = LogWriter(folder, "worker", segment_bytes=200_000)
out = sys.stdout.fileno()
open_calls = []
while True:
    call = new_id()
    log.append(Opened(call, int(call.replace("-", "")[:12], 16) * 1000, "default", "live", "chat", "", "production",
        "r", "", "m", "openai/m", "", False, "", "", "u", (), "", "", "", "", "full",
        b'{"messages":"' + b"x" * draw.randrange(2000) + b'"}'))
    os.write(out, f"o{call}\\n".encode())
    open_calls.append(call)
    if len(open_calls) > 5:
        call = open_calls.pop(draw.randrange(6))
        at = int(call.replace("-", "")[:12], 16) * 1000 + 700
        log.append(Closed(call, at, 300, "ok", 200, "", "", "openai/m", "m", "openai", "", "", "", "stop", (),
            Usage(input_tokens=7, output_tokens=3), 11, "", False, False, b'{"text":"y"}'))
        os.write(out, f"c{call}\\n".encode())
        digits = call.replace("-", "")
        log.append(SpanEnded(digits, digits[16:], "", "work", "default", at - 900, at, "", b'{"a":1}'))
        os.write(out, f"s{call}\\n".encode())
"""

RECORDER = """
import sys
from pathlib import Path
from trimtab.ledger import Recorder
from trimtab.storage.sqlite import open_call_store
store = open_call_store(Path(sys.argv[2]))
with Recorder(Path(sys.argv[1]), store) as recorder:
    print("ready", flush=True)
    recorder.run(lambda: False)
"""


class Writer:
    """A process that appends as fast as it can, and says what it appended only afterwards."""

    def __init__(self, folder, said, seed):
        self.said = said
        with said.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", WRITER, str(folder), str(seed)], stdout=file
            )

    def wait_until_said(self, size):
        deadline = time.monotonic() + 20
        while self.said.stat().st_size < size:
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def records(self):
        lines = self.said.read_text().splitlines()
        if lines and len(lines[-1]) != 37:
            lines.pop()
        return tuple({line[1:] for line in lines if line[0] == kind} for kind in "ocs")


def start_recorder(folder, calls):
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(folder), str(calls)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"ready\n", process.stderr.read()
    return process


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)


def check(folder: Path, calls: Path, writers):
    """Record what is left; then everything that was said must be stored, once, and the sums must be right."""
    store = open_call_store(calls)
    with Recorder(folder, store) as recorder:
        progress = recorder.drain(60)
    assert not progress.error
    assert progress.damaged_bytes == 0
    # A writer killed between making a segment and naming it leaves a file without records; it goes after a minute.
    unborn = list(folder.glob("*.new"))
    assert all(path.stat().st_size <= HEADER_BYTES for path in unborn)
    assert {path.name for path in folder.iterdir()} == {"recorder.lock", *(path.name for path in unborn)}
    opened, closed, spans = set(), set(), set()
    for writer in writers:
        said_opened, said_closed, said_spans = writer.records()
        spans |= said_spans
        opened |= said_opened
        closed |= said_closed
    states = Counter()
    for call_id in sorted(opened):
        call = store.get(call_id)
        assert call is not None, "an opened call is missing"
        states[call.state] += 1
        if call_id in closed:
            assert call.state == "ok"
            assert call.closed.usage.input_tokens == 7
    # A record may have been written in the moment before it could be said.
    assert len(opened) <= store.count() <= len(opened) + len(writers)
    assert states["ok"] >= len(closed) > 0
    for cube in ("hour_model", "hour_prompt", "day_user"):
        assert store.rollup(cube) == store.recount(cube)
    rows = store.rollup("day_user")
    assert sum(row.calls for row in rows) == store.count()
    assert sum(row.cost_nusd for row in rows) == 11 * sum(row.calls - row.unfinished for row in rows)
    stored = [span.trace_id for span in store.spans()]
    assert len(stored) == len(set(stored))
    assert set(stored) >= {call_id.replace("-", "") for call_id in spans}
    assert len(stored) <= len(spans) + len(writers)
    assert sum(row.spans for row in store.traces(limit=1_000_000)) == len(stored)
    store.close()


def test_writers_that_are_killed_lose_nothing_they_acknowledged(tmp_path):
    folder = tmp_path / "log"
    writers = []
    for seed in range(4):
        writer = Writer(folder, tmp_path / f"said-{seed}", seed)
        writers.append(writer)
        writer.wait_until_said(random.randrange(1_000, 60_000))
        writer.kill()
    check(folder, tmp_path / "calls", writers)


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_a_recorder_that_is_killed_again_and_again_doubles_and_loses_nothing(tmp_path, kills):
    folder, calls = tmp_path / "log", tmp_path / "calls"
    writers = []
    for number in range(kills):
        writer = Writer(folder, tmp_path / f"said-{number}", number)
        writers.append(writer)
        recorder = start_recorder(folder, calls)
        # While both work; where exactly in its work the recorder dies differs from run to run.
        writer.wait_until_said(random.randrange(1_000, 150_000))
        if number % 2:
            writer.kill()
            kill(recorder)
        else:
            kill(recorder)
            writer.kill()
    check(folder, calls, writers)
