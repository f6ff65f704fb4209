"""Counters: what a process counted outlives it."""

import math
import os
import signal
import stat
import subprocess
import sys

import pytest

from trimtab.ledger import (
    COUNTER_NAMES,
    Counters,
    bucket_bound_ms,
    bucket_of,
    counters,
    metrics_text,
    read_all,
    settle,
)
from trimtab.types.errors import FolderBusy, FormatTooNew, StorageError


def test_values_go_on_after_a_restart_and_in_flight_does_not(tmp_path):
    first = Counters(tmp_path, "w1")
    first.add_named("requests")
    first.add_named("cost_nusd", 1 << 40)
    first.add_named("in_flight", 3)
    first.observe_ms(5)
    assert read_all(tmp_path)["in_flight"] == 3
    first.close()
    first.close()
    second = Counters(tmp_path, "w1")
    second.add_named("requests", 2)
    values = second.values()
    assert (values["requests"], values["cost_nusd"], values["in_flight"]) == (3, 1 << 40, 0)
    assert values[f"latency_ms[{bucket_of(5)}]"] == 1
    assert values["latency_us_sum"] == 5_000
    assert not second.recreated
    second.flush()
    second.close()


def test_every_name_has_a_slot_of_its_own(tmp_path):
    mine = Counters(tmp_path, "w")
    for number, name in enumerate(COUNTER_NAMES, 1):
        mine.add_named(name, number)
    for bucket in range(counters.BUCKETS):
        for _ in range(bucket + 1):
            mine.observe_ms(bucket_bound_ms(bucket) * 0.99 if bucket < counters.BUCKETS - 1 else 1e12)
    values = mine.values()
    mine.close()
    assert [values[name] for name in COUNTER_NAMES if name != "latency_us_sum"] == [
        number for number, name in enumerate(COUNTER_NAMES, 1) if name != "latency_us_sum"
    ]
    assert [values[f"latency_ms[{bucket}]"] for bucket in range(82)] == list(range(1, 83))
    assert read_all(tmp_path) == values


def test_an_unknown_name_is_an_error(tmp_path):
    mine = Counters(tmp_path, "w")
    with pytest.raises(KeyError):
        mine.add_named("reqests")
    mine.close()


def test_the_file_is_written_in_full_and_closed_to_others(tmp_path):
    mine = Counters(tmp_path / "run", "w")
    info = mine.path.stat()
    mine.close()
    assert (info.st_size, stat.S_IMODE(info.st_mode)) == (8192, 0o600)
    assert info.st_blocks * 512 >= 8192, "a hole would need space when the disk has none"


def test_read_all_sums_all_processes(tmp_path):
    assert read_all(tmp_path)["requests"] == 0
    for number in (1, 2, 3):
        mine = Counters(tmp_path, f"w{number}")
        mine.add_named("unrecorded_closed", number)
        mine.observe_ms(100)
        mine.close()
    (tmp_path / "broken.counters").write_bytes(b"nonsense")
    total = read_all(tmp_path)
    assert total["unrecorded_closed"] == 6
    assert total[f"latency_ms[{bucket_of(100)}]"] == 3
    assert sum(total.values()) == 6 + 3 + 300_000


def test_two_processes_do_not_count_in_one_file(tmp_path):
    mine = Counters(tmp_path, "w")
    with pytest.raises(FolderBusy):
        Counters(tmp_path, "w")
    mine.close()
    Counters(tmp_path, "w").close()


@pytest.mark.parametrize("content", [b"", b"x" * 10, b"\0" * 8192, b"short but right"])
def test_a_damaged_file_is_put_aside_and_that_is_counted(tmp_path, content):
    mine = Counters(tmp_path, "w")
    mine.add_named("requests", 7)
    mine.close()
    mine.path.write_bytes(mine.path.read_bytes()[:100] if content == b"short but right" else content)
    mine = Counters(tmp_path, "w")
    assert mine.recreated
    assert mine.values()["counters_recreated"] == 1
    assert mine.values()["requests"] == 0
    assert (tmp_path / "w.damaged").exists()
    mine.close()


def test_a_newer_format_is_refused_and_left_alone(tmp_path):
    mine = Counters(tmp_path, "w")
    mine.close()
    data = bytearray(mine.path.read_bytes())
    data[8] = 2
    mine.path.write_bytes(data)
    for attempt in (lambda: Counters(tmp_path, "w"), lambda: read_all(tmp_path)):
        with pytest.raises(FormatTooNew, match="format 2"):
            attempt()
    assert mine.path.read_bytes() == data


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be opened"):
        Counters(tmp_path / "file", "w")


def test_counts_survive_kill_9(tmp_path):
    program = (
        "import sys, time, pathlib; from trimtab.ledger import Counters;"
        "c = Counters(pathlib.Path(sys.argv[1]), 'w');"
        "[c.add_named('unrecorded_opened') for _ in range(1000)]; print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    assert read_all(tmp_path)["unrecorded_opened"] == 1000
    Counters(tmp_path, "w").close()


def test_buckets():
    assert bucket_of(float("nan")) == bucket_of(-5) == bucket_of(0) == bucket_of(0.999) == 0
    assert [bucket_of(ms) for ms in (1, 1.18, 1.19, 2, 4, 8, 1 << 19)] == [1, 1, 2, 5, 9, 13, 77]
    assert bucket_of((1 << 20) - 0.001) == 80
    assert bucket_of(1 << 20) == bucket_of(math.inf) == 81
    for bucket in range(1, 81):
        bound = bucket_bound_ms(bucket)
        assert bucket_of(bound * 0.9999) == bucket
        assert bucket_of(bound * 1.0001) == bucket + 1
    assert bucket_bound_ms(0) == 1.0
    assert bucket_bound_ms(81) == math.inf


def test_metrics_text(tmp_path):
    for name in ("w1", "w2"):
        mine = Counters(tmp_path, name)
        mine.add_named("answered", 2)
        mine.add_named("in_flight")
        mine.observe_ms(0.5)
        mine.observe_ms(1500)
        mine.close()
    lines = metrics_text(str(tmp_path)).splitlines()
    assert "# TYPE trimtab_answered_total counter" in lines
    assert "trimtab_answered_total 4" in lines
    assert "trimtab_unrecorded_closed_total 0" in lines
    assert lines[lines.index("# TYPE trimtab_in_flight gauge") + 1] == "trimtab_in_flight 2"
    buckets = [line for line in lines if line.startswith("trimtab_latency_seconds_bucket")]
    assert buckets[0] == 'trimtab_latency_seconds_bucket{le="0.001"} 2'
    assert buckets[-1] == 'trimtab_latency_seconds_bucket{le="+Inf"} 4'
    assert 'trimtab_latency_seconds_bucket{le="1.024"} 2' in buckets
    assert 'trimtab_latency_seconds_bucket{le="2.048"} 4' in buckets
    assert lines[-2:] == ["trimtab_latency_seconds_sum 3.001", "trimtab_latency_seconds_count 4"]
    assert not any(line.startswith("trimtab_latency_us_sum") for line in lines)


def test_a_process_that_is_gone_has_nothing_in_flight(tmp_path):
    counters = Counters(tmp_path, "worker-1b")
    counters.add_named("in_flight", 3)
    counters.add_named("requests", 7)
    counters.close()
    assert read_all(tmp_path)["in_flight"] == 3
    settle(tmp_path, "worker-1b")
    settle(tmp_path, "nobody")
    (tmp_path / "worker-2.counters").write_bytes(b"damaged")
    settle(tmp_path, "worker-2")
    found = read_all(tmp_path)
    assert (found["in_flight"], found["requests"]) == (0, 7)
    assert (tmp_path / "worker-2.counters").read_bytes() == b"damaged"
