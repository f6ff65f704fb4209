"""Erasing with real processes and kill -9 of the recorder at random moments: no trace, nobody else's call lost."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trimtab.ledger import LogWriter, erasure_result, request_erasure
from trimtab.storage import CallQuery, Erasure
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import NOON_MS, sample_call
from trimtab.testing.spans import in_trace, sample_span
from trimtab.types import SpanEnded

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
WAIT_S = 60.0


def start(log: Path, store: Path) -> subprocess.Popen[bytes]:
    recorder = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(log), str(store)], stdout=subprocess.PIPE
    )
    assert recorder.stdout is not None
    assert recorder.stdout.readline() == b"ready\n"
    return recorder


def kill(recorder: subprocess.Popen[bytes]) -> None:
    recorder.send_signal(signal.SIGKILL)
    recorder.wait()
    assert recorder.stdout is not None
    recorder.stdout.close()


def traces(folder: Path, marker: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and marker in path.read_bytes()]


def spans_of(trace: int, count: int, word: str) -> list[SpanEnded]:
    words = f'{{"q":"{word}"}}'.encode()
    return [sample_span(trace, n + 1, started_us=NOON_MS * 1000 - n, attributes=words) for n in range(count)]


def append(writer: LogWriter, spans: list[SpanEnded]) -> None:
    for span in spans:
        writer.append(span)


@pytest.mark.parametrize("seed", range(4))
def test_a_recorder_killed_while_it_erases(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    log, store_folder = tmp_path / "log", tmp_path / "calls"
    writer = LogWriter(log, "worker", segment_bytes=draw.choice([30_000, 200_000, 1 << 26]))
    recorder = start(log, store_folder)
    kept: set[str] = set()
    kept_spans: set[str] = set()
    late = []
    for number in range(6):
        marker = f"quagga{number}x"
        for i in range(300):
            mine = draw.random() < 0.3
            trace = number * 1000 + i + 1
            spans = spans_of(trace, draw.randrange(3), marker if mine else "plain")
            append(writer, spans[:1])
            call = sample_call(
                trace_parent=in_trace(trace),
                user=marker if mine else "u",
                session="s",
                question=f"a {marker if mine else 'plain'} word {i}",
            )
            writer.append(call.opened)
            if mine and draw.random() < 0.05:
                late.append(call)
            else:
                writer.append(call.closed)
            append(writer, spans[1:])
            if not mine:
                kept.add(call.id)
                kept_spans |= {span.id for span in spans}
        request_id = request_erasure(log, Erasure(user=marker))
        for _ in range(3):
            time.sleep(draw.random() * 0.12)  # any moment will do
            kill(recorder)
            recorder = start(log, store_folder)
        for call in late:
            writer.append(call.closed)
        late.clear()
        until = time.monotonic() + WAIT_S
        while (result := erasure_result(log, request_id)) is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not result.error
        assert result.unreadable == ()
    reader = open_call_store(store_folder, read_only=True)
    until = time.monotonic() + WAIT_S
    while (
        reader.count() < len(kept)
        or len(list(reader.spans())) < len(kept_spans)
        or traces(tmp_path, b"quagga")
    ):
        assert time.monotonic() < until, traces(tmp_path, b"quagga")
        time.sleep(0.05)
    kill(recorder)
    found = reader.find(CallQuery(limit=10_000))
    assert {call.id for call in found} == kept
    assert sorted(span.id for span in reader.spans()) == sorted(kept_spans)
    assert sum(row.spans for row in reader.traces(limit=10_000)) == len(kept_spans)
    for cube in ("hour_model", "hour_prompt", "day_user", "minute_project", "sixhour_model"):
        assert reader.rollup(cube) == reader.recount(cube)
    assert not list(log.glob("*.damaged"))
    reader.close()
    writer.close()
