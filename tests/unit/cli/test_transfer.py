"""`trimtab export` and `import`: every field comes back, from a folder where nothing runs and from one in use."""

import builtins
import json
import os
import random

import msgspec
import pytest

from trimtab.ledger import Recorder
from trimtab.serve import open_local
from trimtab.serve.folder import Layout
from trimtab.storage import CallQuery, call_line
from trimtab.storage.sqlite import open_call_store
from trimtab.types import FeedbackGiven, new_id

ODD = (b"", b"no json", b"\xff\x00\n", b'{"a":\n1}', b'{"$text":"x"}', '{"x":"é東"}'.encode())


@pytest.fixture
def various(make_call):
    """Calls of three days with odd words, some unfinished, some with feedback."""
    draw = random.Random(7)

    def one(n):
        words = {name: draw.choice(ODD) for name in ("request", "variables", "response")}
        call = make_call(n * 1500, closed=n % 9 != 0, user=f"u{n % 3}", tags=("é'b",) * (n % 2), **words)
        given = FeedbackGiven(
            new_id(), call.id, call.opened.opened_us + 9, "default", "n", 0.5, "", "é", "", "", ""
        )
        return msgspec.structs.replace(call, feedback=(given,) if n % 4 == 0 else ())

    return [one(n) for n in range(180)]


@pytest.fixture
def filled(stored, various):
    data = stored(various)
    with open_local(data) as local:
        local.calls.insert_feedback([given for call in various for given in call.feedback])
    return data


def everything(data):
    with open_local(data) as local:
        for cube in ("hour_model", "minute_project", "day_user"):
            assert local.calls.rollup(cube) == local.calls.recount(cube)
        return local.calls.find(CallQuery(limit=10_000), payload=True)


def test_everything_comes_back_byte_for_byte(run, filled, various, place):
    done = run("export", "--out", "calls.jsonl")
    assert (done.code, done.out) == (0, "")
    assert "180 calls exported" in done.err
    file = place / "calls.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == b"".join(map(call_line, various[::-1]))
    done = run("import", "calls.jsonl", "--data", "new", "--json")
    assert (done.code, json.loads(done.out)) == (0, {"read": 180, "new": 180})
    assert everything(place / "new") == everything(filled) == various[::-1]
    done = run("import", "calls.jsonl", "--data", "new", "--json")
    assert json.loads(done.out) == {"read": 180, "new": 0}
    assert everything(place / "new") == various[::-1]
    assert "u1" in run("calls", "--data", "new", "--user", "u1", "--json").out


def test_filters_choose(run, filled, place):
    done = run("export", "--user", "u1", "--out", "some.jsonl")
    assert done.code == 0
    rows = [json.loads(line) for line in (place / "some.jsonl").read_bytes().splitlines()]
    assert len(rows) == 60
    assert {row["opened"]["user"] for row in rows} == {"u1"}


def test_stdout_is_the_default(filled, place):
    import subprocess
    import sys

    command = [sys.executable, "-m", "trimtab.cli"]
    out = subprocess.run([*command, "export"], capture_output=True, check=True, cwd=place, env=os.environ)
    assert out.stdout.count(b"\n") == 180
    done = subprocess.run(
        [*command, "import", "-", "--data", "new"], input=out.stdout, capture_output=True, check=True, cwd=place,
        env=os.environ,
    )  # fmt: skip
    assert done.stdout == b"180 calls read, 180 of them new.\n"


def test_where_trimtab_runs_import_goes_through_its_log(run, running, various, place):
    store = open_call_store(place / "data")
    store.insert(various)
    store.insert_feedback([given for call in various for given in call.feedback])
    done = run("export", "--out", "calls.jsonl")
    assert done.code == 0
    assert (place / "calls.jsonl").read_bytes().count(b"\n") == 180
    done = run("import", "calls.jsonl")
    assert (done.code, done.out) == (0, "180 calls read; those that are new show within seconds.\n")
    store.close()
    layout = Layout(place / "data")
    store = open_call_store(place / "elsewhere")
    with Recorder(layout.log, store) as recorder:
        assert recorder.drain().error == ""
    assert store.find(CallQuery(limit=999), payload=True) == various[::-1]
    store.close()


def test_a_bad_line_is_named_and_what_stands_before_it_is_kept(run, various, place):
    lines = [call_line(call) for call in various[:4]]
    (place / "bad.jsonl").write_bytes(b"".join([*lines[:2], b"\n", b'{"format":1}\n', *lines[2:]]))
    done = run("import", "bad.jsonl", "--data", "new")
    assert done.code == 2
    assert "bad.jsonl, line 4:" in done.err
    assert everything(place / "new") == various[1::-1]
    (place / "newer.jsonl").write_bytes(b'{"format":2}\n')
    done = run("import", "newer.jsonl", "--data", "new")
    assert done.code == 3
    assert "newer Trimtab" in done.err


def test_a_file_is_not_overwritten(run, filled, place):
    (place / "calls.jsonl").write_text("mine")
    done = run("export", "--out", "calls.jsonl")
    assert done.code == 3
    assert "cannot be made" in done.err
    assert (place / "calls.jsonl").read_text() == "mine"


def test_nothing_recorded_is_an_empty_file(run, place):
    done = run("export", "--out", "calls.jsonl", "--data", "none")
    assert (done.code, (place / "calls.jsonl").read_bytes()) == (0, b"")
    assert not (place / "none").exists()
    done = run("import", "none.jsonl", "--data", "new")
    assert done.code == 2
    assert "cannot be read" in done.err


def test_parquet_is_a_table(run, filled, various, place):
    pq = pytest.importorskip("pyarrow.parquet")
    assert run("export", "--format", "parquet", "--out", "calls.parquet").code == 0
    table = pq.read_table(place / "calls.parquet").to_pylist()
    assert [row["id"] for row in table] == [call.id for call in various[::-1]]
    for row, call in zip(table, various[::-1], strict=True):
        assert row["request"] == call.opened.request
        assert row["tags"] == list(call.opened.tags)
        assert row["input_tokens"] == (call.closed.usage.input_tokens if call.closed else None)
        assert row["model_answered"] == (call.closed.model if call.closed else None)
        assert len(json.loads(row["feedback"])) == len(call.feedback)
    assert run("export", "--format", "parquet").code == 2


def test_parquet_without_pyarrow_says_what_to_install(run, filled, place, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    done = run("export", "--format", "parquet", "--out", "calls.parquet")
    assert done.code == 2
    assert "pip install 'trimtab[parquet]'" in done.err
    assert not (place / "calls.parquet").exists()
