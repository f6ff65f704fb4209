"""Day files of format 1, as the version that wrote them left them: converted whole, in one step, or left alone."""

import lzma
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import apsw
import msgspec
import pytest

from trimtab.storage import BillQuery, CallQuery, Erasure, RollupRow, read_call_line
from trimtab.storage.sqlite import convert_days, has_earlier_days, open_call_store, upgrade_steps
from trimtab.storage.sqlite.connection import connect
from trimtab.storage.sqlite.payload import PayloadCodec
from trimtab.storage.sqlite.spans import SpanTable
from trimtab.testing.calls import NOON_MS, sample_call
from trimtab.testing.spans import in_trace, sample_span
from trimtab.types import Call, StorageError

DATA = Path(__file__).parent / "data"
DAY_FILE = "calls-20260922.db"
COPY = f"{DAY_FILE}.bak-1"


def read(name: str) -> bytes:
    return lzma.decompress((DATA / f"{name}.xz").read_bytes())


def put(folder: Path, name: str = DAY_FILE, manifest: str = '{"format":1}') -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(read("format-1.db"))
    path.chmod(0o600)
    if manifest:
        (folder / "manifest.json").write_text(manifest)
    return path


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    """What the earlier version's `find` said, newest first."""
    return [read_call_line(line) for line in read("format-1.jsonl").splitlines()]


@pytest.mark.parametrize("manifest", ['{"format":1}', ""])
def test_a_writer_converts_and_nothing_is_lost(tmp_path: Path, calls: list[Call], manifest: str) -> None:
    path = put(tmp_path, manifest=manifest)
    store = open_call_store(tmp_path)
    assert store.find(CallQuery(limit=1000), payload=True) == calls
    assert all(store.get(call.id) == call for call in calls)
    rollups = msgspec.json.decode(read("format-1.rollups.json"), type=dict[str, list[RollupRow]])
    for cube, rows in rollups.items():
        assert store.rollup(cube) == store.recount(cube) == rows
    assert store.rollup("sixhour_model") == store.recount("sixhour_model") != []
    assert store.index_pending() == 0
    assert store.insert([call for call in calls if call.closed]) == 0
    for query in ("invoice", "領収書", '"due date"', "東京都", "strassenplan", "x"):
        assert {c.id for c in store.find(CallQuery(text=query, limit=1000))} == searched(calls, query)
    for name in ("user", "session", "route", "key", "release"):
        for value, count in Counter(getattr(c.opened, name) for c in calls).items():
            if value:
                assert len(store.find(CallQuery(limit=1000, **{name: value}))) == count
    store.close()
    assert (tmp_path / COPY).read_bytes() == read("format-1.db")
    assert {p.name for p in tmp_path.iterdir()} == {DAY_FILE, COPY, "manifest.json"}
    assert {p.stat().st_mode & 0o777 for p in (path, tmp_path / COPY)} == {0o600}
    assert msgspec.json.decode((tmp_path / "manifest.json").read_bytes()) == {"format": 2}
    assert apsw.Connection(str(path)).pragma("integrity_check") == "ok"


def searched(calls: list[Call], query: str) -> set[str]:
    """What a search must find among the fixture's calls, asked of their bytes."""
    spelt = {"strassenplan": "Straßenplan"}.get(query, query.strip('"'))
    found = set()
    for call in calls:
        words = call.opened.request
        if call.opened.kind != "embeddings" and call.closed is not None:
            words += call.closed.response
        if call.opened.payload == "full" and query != "x" and spelt.encode() in words:
            found.add(call.id)
    return found


def test_a_reader_is_told_to_convert(tmp_path: Path) -> None:
    put(tmp_path)
    assert has_earlier_days(tmp_path)
    with pytest.raises(StorageError, match="trimtab migrate"):
        open_call_store(tmp_path, read_only=True)
    put(tmp_path, manifest='{"format":2}')  # as a file brought back by hand
    assert not has_earlier_days(tmp_path)
    store = open_call_store(tmp_path, read_only=True)
    with pytest.raises(StorageError, match=r"format 1, of an earlier Trimtab; .*trimtab migrate"):
        store.count()
    store.close()
    before = (tmp_path / DAY_FILE).read_bytes()
    steps = upgrade_steps(tmp_path / "app.db", tmp_path)
    assert [(step.path.name, step.backed_up) for step in steps] == [(DAY_FILE, True)]
    assert (tmp_path / DAY_FILE).read_bytes() == before
    told = []
    assert convert_days(tmp_path, lambda *what: told.append(what)) == [DAY_FILE]
    assert told == [(DAY_FILE, 0, 151), (DAY_FILE, 151, 151)]
    assert upgrade_steps(tmp_path / "app.db", tmp_path) == []
    assert convert_days(tmp_path) == []


def test_an_empty_folder_and_a_damaged_file_stop_nobody(tmp_path: Path) -> None:
    assert not has_earlier_days(tmp_path / "none")
    put(tmp_path)
    (tmp_path / "calls-20260921.db").write_bytes(b"no database" * 500)
    store = open_call_store(tmp_path)
    assert len(store.find(CallQuery(limit=10))) == 10
    with pytest.raises(StorageError, match=r"calls-20260921.db"):
        store.count()
    store.close()


DIE = """
import os, sys
from pathlib import Path
from trimtab.storage.sqlite import convert_days

rename = Path.rename

def last(self, to):
    if self.suffix == ".draft":
        os._exit(9)
    return rename(self, to)

def told(name, done, total):
    if sys.argv[2] == ("filled" if done else "at once"):
        os._exit(9)

Path.rename = last
convert_days(Path(sys.argv[1]), told)
"""


@pytest.mark.parametrize("step", ["at once", "filled", "copied"])
def test_a_crash_leaves_the_old_file_and_the_next_start_converts(
    tmp_path: Path, calls: list[Call], step: str
) -> None:
    path = put(tmp_path)
    done = subprocess.run([sys.executable, "-c", DIE, str(tmp_path), step], check=False, timeout=60)
    assert done.returncode == 9
    assert path.read_bytes() == read("format-1.db")
    store = open_call_store(tmp_path)
    assert store.find(CallQuery(limit=1000), payload=True) == calls
    store.close()
    assert {p.name for p in tmp_path.iterdir()} == {DAY_FILE, COPY, "manifest.json"}


def test_the_copy_goes_with_its_day(tmp_path: Path) -> None:
    put(tmp_path)
    store = open_call_store(tmp_path)
    assert (tmp_path / COPY).exists()
    assert store.drop_before("20260923") == [DAY_FILE]
    assert {p.name for p in tmp_path.iterdir()} == {"manifest.json"}
    store.close()


def test_the_copy_goes_when_something_of_it_is_erased(tmp_path: Path) -> None:
    put(tmp_path)
    store = open_call_store(tmp_path)
    assert store.erase(Erasure(user="nobody")) == []
    assert (tmp_path / COPY).exists()
    assert store.erase(Erasure(user="u3"))
    assert not (tmp_path / COPY).exists()
    store.close()


def test_an_open_reader_of_the_old_file_harms_nothing(tmp_path: Path, calls: list[Call]) -> None:
    path = put(tmp_path)
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    assert reader.execute("SELECT count(*) FROM calls").get == 151
    store = open_call_store(tmp_path)
    new = [sample_call(ms=NOON_MS + i) for i in range(100)]
    store.insert(new)
    assert reader.execute("SELECT count(*) FROM calls").get == 151
    store.flush()
    assert store.count() == 251
    assert store.get(calls[7].id) == calls[7]
    reader.close()
    store.close()
    assert apsw.Connection(str(path)).pragma("integrity_check") == "ok"


def test_a_damaged_payload_costs_that_payload(tmp_path: Path, calls: list[Call]) -> None:
    path = put(tmp_path)
    connection = apsw.Connection(str(path))
    blob = bytes.fromhex(calls[5].id.replace("-", ""))
    connection.execute(
        "UPDATE payload SET body = x'00' WHERE place = (SELECT place FROM calls WHERE id = ?)", (blob,)
    )
    connection.close()
    store = open_call_store(tmp_path)
    found = store.get(calls[5].id)
    assert found is not None
    assert found.opened.request == b""
    assert found.opened.session == calls[5].opened.session
    assert store.get(calls[4].id) == calls[4]
    assert store.count() == 151
    store.close()


def table_rows(path: Path) -> dict[str, list[object]]:
    connection = apsw.Connection(str(path))
    tables = ("span", "trace", "trace_call", "erased_trace")
    found = {
        name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in tables[:3]
    }
    found[tables[3]] = connection.execute("SELECT * FROM erased_trace ORDER BY 1").fetchall()
    connection.close()
    return found


def test_spans_come_along(tmp_path: Path, calls: list[Call]) -> None:
    path = put(tmp_path)
    connection = connect(path, formats=range(1, 2))
    blobs = [bytes.fromhex(call.id.replace("-", "")) for call in calls[:30]]
    connection.execute("UPDATE calls SET trace_parent = ''")
    connection.executemany(
        "UPDATE calls SET trace_parent = ? WHERE id = ?",
        [(in_trace(n % 7 + 1), blob) for n, blob in enumerate(blobs)],
    )
    spans = [sample_span(n % 7 + 1, n + 1, started_us=NOON_MS * 1000 + n) for n in range(40)]
    table = SpanTable(lambda: connection, path, PayloadCodec())
    assert table.insert(spans) == 40
    table.note_erased([bytes.fromhex(sample_span(9, 1).trace_id)])
    connection.close()
    before = table_rows(path)
    assert len(before["trace_call"]) == 30
    store = open_call_store(tmp_path)
    assert table_rows(path) == before
    assert {span.id: span for span in store.spans()} == {span.id: span for span in spans}
    assert sum(row.spans for row in store.traces()) == 40
    assert store.insert_spans([sample_span(9, 1, started_us=NOON_MS * 1000)]) == 0
    trace = store.trace(spans[0].trace_id)
    assert trace is not None
    assert {call.id for call in trace.calls} == {call.id for call in calls[:30:7]}
    store.close()


def test_what_was_held_for_an_open_call_comes_along(tmp_path: Path, calls: list[Call]) -> None:
    path = put(tmp_path)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE calls SET estimated = 1, cost_nusd = 77 WHERE closed_us IS NULL")
    connection.close()
    store = open_call_store(tmp_path)
    unfinished = [call for call in store.find(CallQuery(limit=1000)) if call.closed is None]
    assert len(unfinished) == sum(call.closed is None for call in calls) > 0
    assert {call.opened.reserved_nusd for call in unfinished} == {77}
    assert store.rollup("hour_model") == store.recount("hour_model")
    costs = sum(call.closed.cost_nusd for call in calls if call.closed) + 77 * len(unfinished)
    spent = store.spend()
    assert sum(row.cost_nusd for row in spent) == costs
    assert {row.model for row in spent} <= {call.opened.model for call in calls}
    store.close()


def test_usage_of_later_versions_of_format_1_comes_along(tmp_path: Path, calls: list[Call]) -> None:
    path = put(tmp_path)
    connection = apsw.Connection(str(path))
    connection.execute("ALTER TABLE calls ADD COLUMN reported_cost_nusd INTEGER")
    connection.execute("ALTER TABLE calls ADD COLUMN usage_more BLOB")
    more = msgspec.msgpack.encode((8, 9, 10, 11, 12, "batch"))
    connection.execute(
        "UPDATE calls SET usage_more = ?, reported_cost_nusd = 13 WHERE closed_us IS NOT NULL", (more,)
    )
    connection.close()
    store = open_call_store(tmp_path)
    closed = [call.closed for call in store.find(CallQuery(limit=1000)) if call.closed]
    assert len(closed) == sum(call.closed is not None for call in calls)
    assert {msgspec.structs.astuple(one.usage)[8:] for one in closed} == {(8, 9, 10, 11, 12, "batch", 13)}
    [row] = store.bill(BillQuery(by=()))
    assert (row.reported, row.reported_cost_nusd) == (len(closed), 13 * len(closed))
    store.close()


def test_an_erasure_cut_short_is_brought_to_its_end(tmp_path: Path) -> None:
    path = put(tmp_path)
    connection = apsw.Connection(str(path))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('erasing', 1)")
    connection.close()
    store = open_call_store(tmp_path)
    assert (tmp_path / COPY).exists()
    assert store.erase(Erasure(user="nobody")) == []
    assert not (tmp_path / COPY).exists()
    store.close()


def test_looking_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    put(tmp_path)
    assert len(upgrade_steps(tmp_path / "app.db", tmp_path)) == 1
    assert {p.name for p in tmp_path.iterdir()} == {DAY_FILE, "manifest.json"}


def test_no_hard_links_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    put(tmp_path)
    convert_days(tmp_path)
    assert (tmp_path / COPY).read_bytes() == read("format-1.db")
