"""The writer is killed at any moment, and read while it writes: no acknowledged call is lost or doubled."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from trimtab.storage import CallQuery
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import NOON_MS, sample_call, unfinished
from trimtab.types import Call, id_time_us

WRITER = """
import sys
from pathlib import Path
import msgspec
from trimtab.storage.sqlite import open_call_store
from trimtab.types import Call

batches = msgspec.msgpack.decode(Path(sys.argv[2]).read_bytes(), type=list[list[Call]])
store = open_call_store(sys.argv[1], roll_bytes=200_000)
for number, batch in enumerate(batches):
    store.insert(batch)
    print(number, flush=True)
    store.index_pending(7)
    if number % 5 == 4:
        store.flush()
store.close()
print("done", flush=True)
"""


def make_batches(seed: int) -> list[list[Call]]:
    """Two days' calls in batches, a third of them unfinished first and finished later."""
    rng = random.Random(seed)
    calls = [
        sample_call(ms=NOON_MS + rng.randrange(2) * 86_400_000 + i, user=f"u{i % 9}") for i in range(600)
    ]
    stages: list[list[Call]] = [[] for _ in range(60)]
    for i, call in enumerate(calls):
        stage = i // 10
        if i % 3 == 0 and stage < 59:
            stages[stage].append(unfinished(call))
            stage = rng.randrange(stage + 1, 60)
        stages[stage].append(call)
    return stages


def start(folder: Path, batches: list[list[Call]]) -> subprocess.Popen[bytes]:
    import msgspec

    data = folder.parent / "batches"
    data.write_bytes(msgspec.msgpack.encode(batches))
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(data)], stdout=subprocess.PIPE)


def run_until_killed(folder: Path, batches: list[list[Call]], rng: random.Random) -> int:
    """Return the last batch that the writer acknowledged before `kill -9`, -1 for none."""
    process = start(folder, batches)
    assert process.stdout is not None
    acknowledged = -1
    last = rng.randrange(len(batches))
    for line in process.stdout:
        if line.strip() == b"done":
            break
        acknowledged = int(line)
        if acknowledged == last:
            time.sleep(rng.random() * 0.02)  # not a guess at readiness: any moment must do
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().split()
    process.wait(30)
    process.stdout.close()
    return max([acknowledged, *(int(line) for line in rest if line != b"done")])


def check_integrity(folder: Path) -> None:
    for path in folder.glob("calls-*.db"):
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(5000)
        try:
            assert connection.pragma("integrity_check") == "ok"
            connection.execute("INSERT INTO words(words) VALUES ('integrity-check')")
        finally:
            connection.close()


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_loses_nothing_acknowledged_and_a_replay_doubles_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    batches, folder = make_batches(seed), tmp_path / "calls"
    acknowledged = run_until_killed(folder, batches, rng)
    check_integrity(folder)

    store = open_call_store(folder, roll_bytes=200_000)
    kept = {call.id: call for call in store.find(CallQuery(limit=10_000), payload=True)}
    for batch in batches[: acknowledged + 1]:
        for call in batch:
            assert kept[call.id] == call or kept[call.id].closed, "an acknowledged call was lost"
    assert store.rollup("hour_model") == store.recount("hour_model")

    for batch in batches:
        store.insert(batch)
    while store.index_pending(100):
        pass
    expected = {call.id: call for batch in batches for call in batch if call.closed}
    assert {call.id: call for call in store.find(CallQuery(limit=10_000), payload=True)} == expected
    assert store.count() == len(expected) == 600
    found = {call.id for call in store.find(CallQuery(limit=10_000, text="invoice friday"))}
    assert found == set(expected)
    for cube in ("hour_model", "hour_prompt", "day_user"):
        assert store.rollup(cube) == store.recount(cube)
    assert sum(row.cost_nusd for row in store.rollup("day_user")) == 600 * 24_750
    store.close()


def test_readers_in_other_processes_see_rows_at_once_and_are_never_locked_out(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    batches = make_batches(99)
    process = start(folder, batches)
    assert process.stdout is not None
    reader = open_call_store(folder, read_only=True)
    for line in process.stdout:
        if line.strip() == b"done":
            break
        newest = [call.id for batch in batches[: int(line) + 1] for call in batch]
        assert reader.count() >= len(set(newest)), "an acknowledged row must be visible to a reader"
        assert reader.get(newest[-1]) is not None
        found = reader.find(CallQuery(limit=20, text="invoice", model="openai/gpt-4o"))
        assert [call.id for call in found] == sorted((call.id for call in found), reverse=True)
        assert all(id_time_us(call.id) > 0 for call in found)
        assert reader.rollup("hour_model")
    assert process.wait(30) == 0
    process.stdout.close()
    assert reader.count() == 600
    reader.close()
