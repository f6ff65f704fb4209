"""The call store's files: who may read them, when they roll, what is refused, what others see meanwhile."""

import os
import threading
from pathlib import Path

import apsw
import msgspec
import pytest

from trimtab.storage import CallQuery
from trimtab.storage.sqlite import open_call_store
from trimtab.testing.calls import NOON_MS, sample_call, unfinished
from trimtab.types import Call, FeedbackGiven, FormatTooNew, StorageError, Usage, new_id

DAY_MS = 86_400_000
DAY_FILE = "calls-20260922.db"


def day_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("calls-*.db"))


def test_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "calls"
    old = os.umask(0)
    try:
        store = open_call_store(folder)
        store.insert([sample_call()])
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    finally:
        os.umask(old)
    store.close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert set(modes) >= {"manifest.json", DAY_FILE, f"{DAY_FILE}-wal"}
    assert set(modes.values()) == {0o600}


def test_a_day_rolls_at_its_size_and_one_file_serves_each_day(tmp_path: Path) -> None:
    store = open_call_store(tmp_path, roll_bytes=400_000)
    calls = [sample_call(ms=NOON_MS + i, request=os.urandom(4000)) for i in range(200)]
    for start in range(0, 200, 20):
        assert store.insert(calls[start : start + 20]) == 20
    store.insert([sample_call(ms=NOON_MS + DAY_MS)])
    names = day_files(tmp_path)
    assert names[-1] == "calls-20260923.db"
    assert names[0] == "calls-20260922-2.db"
    assert DAY_FILE in names
    store.flush()
    assert max(path.stat().st_size for path in tmp_path.glob("*.db")) < 600_000
    assert store.insert(calls) == 0
    assert store.count() == 201
    found = store.find(CallQuery(limit=500))
    assert [call.id for call in found][1:] == sorted((call.id for call in calls), reverse=True)
    assert store.rollup("hour_model") == store.recount("hour_model")
    store.close()


def test_a_late_end_finds_its_call_in_an_older_file(tmp_path: Path) -> None:
    store = open_call_store(tmp_path, roll_bytes=1)
    early, late = sample_call(question="sandstorm"), sample_call()
    store.insert([unfinished(early)])
    store.index_pending()
    store.insert([late])
    assert len(day_files(tmp_path)) == 2
    assert store.insert([early]) == 0
    assert store.get(early.id) == early
    assert store.index_pending() == 0
    assert [call.id for call in store.find(CallQuery(text="sandstorm friday"))] == [early.id]
    assert store.rollup("day_user") == store.recount("day_user")
    assert sum(row.unfinished for row in store.rollup("hour_model")) == 0
    store.close()


def test_a_reader_sees_new_days_and_lets_go_of_dropped_ones(tmp_path: Path) -> None:
    reader = open_call_store(tmp_path / "calls", read_only=True)
    with pytest.raises(StorageError):
        reader.insert([sample_call()])
    writer = open_call_store(tmp_path / "calls")
    assert reader.count() == 0
    first, second = sample_call(), sample_call(ms=NOON_MS + DAY_MS)
    writer.insert([first])
    assert reader.get(first.id) == first
    writer.insert([second])
    assert [call.id for call in reader.find(CallQuery())] == [second.id, first.id]
    assert writer.drop_before("20260923") == [DAY_FILE]
    assert [path.name for path in (tmp_path / "calls").glob("*20260922*")] == []
    assert [call.id for call in reader.find(CallQuery())] == [second.id]
    again = sample_call()
    writer.insert([again])
    assert reader.get(again.id) == again
    assert reader.get(first.id) is None
    reader.close()
    writer.close()


def test_a_folder_that_is_not_there_is_an_empty_store_to_a_reader(tmp_path: Path) -> None:
    reader = open_call_store(tmp_path / "none", read_only=True)
    assert reader.count() == 0
    assert reader.find(CallQuery(text="x")) == []
    assert reader.get(new_id()) is None
    assert reader.rollup("hour_model") == []
    assert not (tmp_path / "none").exists()
    reader.close()


def test_many_days_are_read_with_few_files_open(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    calls = [sample_call(ms=NOON_MS + i * DAY_MS) for i in range(20)]
    store.insert(calls)
    assert store.index_pending() == 0
    found = store.find(CallQuery(limit=100, text="invoice"), payload=True)
    assert found == calls[::-1]
    store.flush()
    assert len(list(tmp_path.glob("*-wal"))) <= 16
    assert store.drop_before("20261001") == day_files_before(calls[:9])
    assert store.count() == 11
    store.close()


def day_files_before(calls: list) -> list[str]:
    return [f"calls-202609{22 + i}.db" for i in range(len(calls))]


def test_a_half_made_file_of_a_crash_is_swept_away(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    for name in ("calls-20260922.new", "calls-20260922.new-wal"):
        (tmp_path / name).write_bytes(b"half")
    call = sample_call()
    assert store.insert([call]) == 1
    assert store.get(call.id) == call
    store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [DAY_FILE, "manifest.json"]


def test_a_newer_folder_or_file_is_refused(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    store.insert([sample_call()])
    store.close()
    connection = apsw.Connection(str(tmp_path / DAY_FILE))
    connection.pragma("user_version", 3)
    connection.close()
    for read_only in (True, False):
        store = open_call_store(tmp_path, read_only=read_only)
        with pytest.raises(FormatTooNew, match=r"format 3, .* up to 2: a newer Trimtab"):
            store.count()
        store.close()
    (tmp_path / "manifest.json").write_text('{"format": 3, "whatever": []}')
    for read_only in (True, False):
        with pytest.raises(FormatTooNew, match=r"manifest.json has format 3"):
            open_call_store(tmp_path, read_only=read_only)


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 300])
def test_a_file_that_is_no_day_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DAY_FILE).write_bytes(content)
    store = open_call_store(tmp_path)
    with pytest.raises(StorageError, match=DAY_FILE):
        store.insert([sample_call()])
    store.close()
    assert (tmp_path / DAY_FILE).read_bytes() == content


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StorageError, match=r"manifest.json is damaged"):
        open_call_store(tmp_path)


def test_a_damaged_payload_is_named_and_holds_nothing_else_up(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    bad, good = sample_call(), sample_call(question="lighthouse")
    store.insert([bad, good])
    store.close()
    connection = apsw.Connection(str(tmp_path / DAY_FILE))
    connection.execute("UPDATE payload SET body = x'00' WHERE doc = (SELECT doc FROM calls WHERE id = ?)",
                       (bytes.fromhex(bad.id.replace("-", "")),))  # fmt: skip
    connection.close()
    store = open_call_store(tmp_path)
    assert store.index_pending() == 0
    assert [call.id for call in store.find(CallQuery(text="lighthouse"))] == [good.id]
    with pytest.raises(StorageError, match="the payload is damaged"):
        store.get(bad.id)
    assert len(store.find(CallQuery())) == 2
    store.close()


def test_a_bad_call_in_a_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    store.insert([sample_call()])
    bad = sample_call(cost_nusd=1 << 70)
    with pytest.raises(OverflowError):
        store.insert([sample_call(), bad])
    with pytest.raises(ValueError, match="UUIDv7"):
        store.insert([sample_call(), sample_call(id="no id")])
    assert store.count() == 1
    assert store.rollup("hour_model") == store.recount("hour_model")
    assert store.insert([sample_call()]) == 1
    store.close()


def test_what_policy_hides_is_stored_but_not_searchable(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    calls = [sample_call(payload=policy) for policy in ("full", "masked", "hash", "none")]
    calls.append(sample_call(payload="none", request=b"", response=b"", variables=b""))
    store.insert(calls)
    store.index_pending()
    assert {call.id for call in store.find(CallQuery(text="invoice"))} == {call.id for call in calls[:2]}
    assert all(store.get(call.id) == call for call in calls)
    store.close()


def test_no_field_of_a_call_is_lost(tmp_path: Path) -> None:
    call = sample_call(
        prompt_hash="h", prompt_label="production", epoch="openai/gpt-4o@e7", parent_call=new_id(),
        replay_of=new_id(), error_code="stream_cut", error_message="The stream was cut.", state="cancelled",
        degraded=True, cache_hit=True, release="rel_2",
        usage=Usage(1, 2, 3, 4, 5, 6, 7, True, 8, 9, 10, 11, 12, "batch", 13),
    )  # fmt: skip
    assert call.closed is not None
    for struct in (call.opened, call.closed, call.closed.usage):
        empty = [name for name in struct.__struct_fields__ if not getattr(struct, name)]
        empty = [name for name in empty if name != "reserved_nusd"]  # an end takes its place; see below
        assert empty == [], "give every field a value here, so that a field without a column shows"
    store = open_call_store(tmp_path)
    store.insert([call])
    assert store.get(call.id) == call
    store.close()


def test_an_unfinished_call_costs_what_was_held_for_it_until_its_end_comes(tmp_path: Path) -> None:
    call = sample_call(user="ann")
    assert call.closed is not None
    held = msgspec.structs.replace(call.opened, reserved_nusd=700)
    store = open_call_store(tmp_path)
    store.insert([Call(opened=held, closed=None, state="unfinished")])
    found = store.get(call.id)
    assert found is not None
    assert (found.opened, found.closed) == (held, None)
    assert [row.cost_nusd for row in store.spend()] == [700]
    [day] = store.rollup("day_user")
    assert (day.cost_nusd, day.estimated, day.unfinished) == (700, 1, 1)
    assert store.recount("day_user") == [day]
    store.insert([Call(opened=held, closed=call.closed, state=call.closed.state)])
    [row] = store.spend()
    assert (row.project, row.user, row.model) == (held.project, "ann", held.model)
    assert row.cost_nusd == call.closed.cost_nusd
    [day] = store.rollup("day_user")
    assert (day.cost_nusd, day.unfinished) == (call.closed.cost_nusd, 0)
    assert store.recount("day_user") == [day]
    assert store.spend(held.opened_us + 1) == store.spend(0, held.opened_us) == []
    store.close()


def test_threads_may_share_a_store(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(20):
                call = sample_call(ms=NOON_MS + number * 1000 + i)
                assert store.insert([call]) == 1
                assert store.get(call.id) == call
                store.find(CallQuery(limit=5))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert store.count() == 80
    store.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file"):
        open_call_store(tmp_path / "file" / "calls")


def test_feedback_makes_no_file_for_days_without_calls(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    call = sample_call()
    store.insert([call])
    given = FeedbackGiven(new_id(), call.id, NOON_MS * 1000, "default", "thumbs", 1.0, "", "", "", "", "")
    strays = [
        msgspec.structs.replace(given, id=new_id(), call_id=new_id(NOON_MS + days * DAY_MS))
        for days in (*range(-60, -1), *range(1, 60))
    ]
    assert store.insert_feedback([*strays, given]) == 1
    assert day_files(tmp_path) == [DAY_FILE]
    judged = store.get(call.id)
    assert judged is not None
    assert judged.feedback == (given,)
    store.close()


@pytest.mark.parametrize("began_ms", [NOON_MS, NOON_MS - DAY_MS])
def test_feedback_on_a_days_first_call_may_come_before_it(tmp_path: Path, began_ms: int) -> None:
    store = open_call_store(tmp_path)
    call = sample_call(ms=began_ms)
    given = FeedbackGiven(new_id(), call.id, NOON_MS * 1000, "default", "thumbs", 1.0, "", "", "", "", "")
    assert store.insert_feedback([given]) == 1
    store.insert([call])
    judged = store.get(call.id)
    assert judged is not None
    assert judged.feedback == (given,)
    store.close()


@pytest.mark.parametrize(
    "bad", ["01a20634-0000-7000-8000-00000000000g", "ffffffff-ffff-7fff-8fff-ffffffffffff"]
)
def test_feedback_on_what_is_no_call_id_is_a_value_error_and_nothing_is_stored(
    tmp_path: Path, bad: str
) -> None:
    store = open_call_store(tmp_path)
    call = sample_call()
    store.insert([call])
    good = FeedbackGiven(new_id(), call.id, NOON_MS * 1000, "default", "thumbs", 1.0, "", "", "", "", "")
    with pytest.raises(ValueError, match="UUIDv7"):
        store.insert_feedback([good, msgspec.structs.replace(good, id=new_id(), call_id=bad)])
    judged = store.get(call.id)
    assert judged is not None
    assert judged.feedback == ()
    assert store.get(bad) is None
    with pytest.raises(StorageError, match="UUIDv7"):
        store.find(CallQuery(before=bad))
    store.close()
