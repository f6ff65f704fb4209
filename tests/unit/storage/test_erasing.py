"""Erasing leaves no byte behind: asked of the files themselves, not of the store."""

import random
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from trimtab.storage import CallQuery, Erasure
from trimtab.storage.sqlite import open_call_store
from trimtab.storage.sqlite.connection import connect
from trimtab.storage.sqlite.payload import PayloadCodec
from trimtab.storage.sqlite.schema import DAY_FORMATS
from trimtab.testing.calls import NOON_MS, sample_call, unfinished
from trimtab.testing.spans import in_trace, sample_span
from trimtab.types import Call, FeedbackGiven, StorageError, new_id

MARKER = "quagga"
DAY_MS = 86_400_000


def marked(i: int, **changes: object) -> Call:
    """A call with the marker wherever a caller's words may stand."""
    return sample_call(
        ms=NOON_MS + i * 1000,
        question=f"the {MARKER} number {i} {random.Random(i).randbytes(40).hex()} " + f"and {MARKER}{i} " * 9,
        user=f"{MARKER}-user",
        session=f"{MARKER}-session",
        tags=(f"{MARKER}-tag",),
        error_message=f"no {MARKER} here",
        client=f"{MARKER}/1.0",
        trace_parent=f"{MARKER}-trace",
        **changes,
    )


def plain(i: int) -> Call:
    text = random.Random(-i - 1).randbytes(300).hex(" ", 3)
    return sample_call(ms=NOON_MS + i * 1000 + 500, question=f"plain {text}", user=f"u{i % 9}", session="s")


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.iterdir():
        if path.suffix != ".json":
            yield path.name, path.read_bytes()


def packed(call: Call) -> bytes:
    assert call.closed is not None
    o = call.opened
    return PayloadCodec().pack((o.request, call.closed.response, o.variables))


def where_is(needle: bytes, folder: Path) -> list[str]:
    return [name for name, content in contents(folder) if needle in content]


def fill(folder: Path, roll_bytes: int | None = None) -> tuple[object, list[Call], list[Call]]:
    """A store with marked calls among plain ones, in many segments of the word index, some late or waiting."""
    store = open_call_store(folder, roll_bytes=roll_bytes)
    gone, kept = [marked(i) for i in range(120)], [plain(i) for i in range(120)]
    for start in range(0, 120, 10):
        piece = gone[start : start + 10]
        store.insert([unfinished(call) for call in piece[::2]])
        store.index_pending()
        store.insert(piece + kept[start : start + 10])
        if start < 100:
            store.index_pending()
    store.insert_feedback(
        [
            FeedbackGiven(
                new_id(NOON_MS), call.id, 1, "default", "n", None, f"{MARKER}-v", MARKER, MARKER, "x", "k"
            )
            for call in gone[:5]
        ]
    )
    return store, gone, kept


@pytest.mark.parametrize("roll_bytes", [None, 200_000])
def test_no_byte_is_left_in_the_files(tmp_path: Path, roll_bytes: int | None) -> None:
    store, gone, kept = fill(tmp_path, roll_bytes)
    store.flush()
    assert where_is(MARKER.encode(), tmp_path)
    assert where_is(packed(gone[115])[40:72], tmp_path)  # one that stands alone still
    reader = open_call_store(tmp_path, read_only=True)
    assert reader.get(gone[33].id) == gone[33]
    assert len(store.erase(Erasure(user=f"{MARKER}-user"))) == 120
    assert where_is(MARKER.encode(), tmp_path) == []
    for call in gone:
        blob = packed(call)
        assert not [at for at in range(20, len(blob) - 32, 32) if where_is(blob[at : at + 32], tmp_path)]
    assert reader.get(gone[33].id) is None
    assert {call.id for call in reader.find(CallQuery(text="plain", limit=500))} == {
        call.id for call in kept[:110]
    }
    store.index_pending()
    assert len(reader.find(CallQuery(text="plain", limit=500), payload=True)) == 120
    assert reader.find(CallQuery(text=MARKER)) == []
    for name in ("hour_model", "hour_prompt", "day_user", "minute_project", "sixhour_model"):
        assert store.rollup(name) == store.recount(name)
    reader.close()
    store.close()
    assert where_is(MARKER.encode(), tmp_path) == []
    for path in tmp_path.glob("*.db"):
        check(path)


def check(path: Path) -> None:
    """The file is sound, and each of its free pages is empty but for the pointers that chain them."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    assert connection.pragma("integrity_check") == "ok"
    size = connection.pragma("page_size")
    used = {row[0] for row in connection.execute("SELECT pageno FROM dbstat")}
    total = connection.pragma("page_count")
    free = set(range(1, total + 1)) - used
    assert len(free) == connection.pragma("freelist_count")
    connection.close()
    content = path.read_bytes()
    for page in free:
        body = content[(page - 1) * size : page * size]
        trunk = {n.to_bytes(4, "big") for n in free | {0}}
        words = [body[i : i + 4] for i in range(0, size, 4)]
        assert all(word in trunk or int.from_bytes(word, "big") <= size // 4 for word in words)


def test_names_of_erased_calls_go_and_others_stay(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    reader = open_call_store(tmp_path, read_only=True)
    kept = sample_call(user="bob", client="shared/1.0", route="kept")
    gone = sample_call(user="ann", client="shared/1.0", route=f"{MARKER}-route", model=f"own/{MARKER}")
    store.insert([kept, gone])
    assert reader.find(CallQuery(route=f"{MARKER}-route")) != []
    assert store.erase(Erasure(user="ann")) == [gone.id]
    assert where_is(MARKER.encode(), tmp_path) == []
    again = sample_call(user="bob", route=f"{MARKER}-route", model="own/other")
    store.insert([again])
    assert [call.id for call in reader.find(CallQuery(route=f"{MARKER}-route"))] == [again.id]
    assert reader.get(kept.id) == store.get(kept.id) == kept
    assert reader.get(again.id) == again
    assert [call.id for call in reader.find(CallQuery(model="own/other"))] == [again.id]
    store.close()
    reader.close()


@pytest.mark.parametrize("size", [1, 63, 64, 65, 130])
def test_a_call_leaves_its_block_and_the_others_stay(tmp_path: Path, size: int) -> None:
    store = open_call_store(tmp_path)
    calls = [marked(i) if i % 3 == 0 else plain(i) for i in range(130)]
    for start in range(0, 130, size):
        store.insert(calls[start : start + size])
        store.index_pending()
    assert len(store.erase(Erasure(user=f"{MARKER}-user"))) == 44
    assert where_is(MARKER.encode(), tmp_path) == []
    for i, call in enumerate(calls):
        assert store.get(call.id) == (None if i % 3 == 0 else call)
    assert len(store.find(CallQuery(text="plain", limit=200))) == 86
    store.close()
    check(tmp_path / "calls-20260922.db")


def test_an_index_of_one_segment_is_merged_too(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    store.insert([marked(1), plain(1)])
    store.index_pending()
    assert len(store.erase(Erasure(user=f"{MARKER}-user"))) == 1
    assert where_is(MARKER.encode(), tmp_path) == []
    assert len(store.find(CallQuery(text="plain"))) == 1
    store.close()


def test_a_reader_in_the_way_delays_the_end_of_erasing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.storage.sqlite.connection.BUSY_MS", 50)
    store, _, _ = fill(tmp_path)
    reader = connect(tmp_path / "calls-20260922.db", formats=DAY_FORMATS, read_only=True)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM calls").get == 240
    with pytest.raises(StorageError, match=r"is being read, .* try again"):
        store.erase(Erasure(user=f"{MARKER}-user"))
    store.close()
    store = open_call_store(tmp_path)
    reader.close()
    assert store.erase(Erasure(user=f"{MARKER}-user")) == []
    assert where_is(MARKER.encode(), tmp_path) == []
    store.close()


def test_an_erased_project_leaves_the_others(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    days = [sample_call(ms=NOON_MS + i * DAY_MS, project=name) for i in range(3) for name in ("a", "b")]
    store.insert(days)
    assert store.erase_project("a") == 3
    assert [call.opened.project for call in store.find(CallQuery())] == ["b", "b", "b"]
    assert store.erase_project("a") == 0
    store.close()


def test_disk_bytes_are_those_of_the_files(tmp_path: Path) -> None:
    store, _, _ = fill(tmp_path, 200_000)
    sizes = store.disk_bytes()
    files = [path for path in tmp_path.iterdir() if path.name.startswith("calls-")]
    assert len([path for path in files if path.suffix == ".db"]) > 1
    assert sizes == {"20260922": sum(path.stat().st_size for path in files)}
    store.close()


def test_rows_that_moved_between_pages_leave_no_copies(tmp_path: Path) -> None:
    """SQLite leaves what it moved where it was: secure_delete alone does not pass this."""
    draw = random.Random(3)
    store = open_call_store(tmp_path)
    for number in range(8):
        name = f"quagga{number}x"
        calls = []
        for i in range(300):
            who = name if draw.random() < 0.3 else "u"
            request = b'{"prompt":"a %s word %d %s"}' % (
                who.encode(),
                i,
                draw.randbytes(draw.randrange(700)).hex().encode(),
            )
            calls.append(sample_call(user=who, request=request, error_message=who * draw.randrange(5)))
        for start in range(0, 300, 60):
            store.insert([unfinished(call) for call in calls[start : start + 60 : 2]])
            store.index_pending(20)
            store.insert(draw.sample(calls[: start + 60], start + 60))
            store.index_pending(40)
        store.erase(Erasure(user=name))
        assert where_is(name.encode(), tmp_path) == []
        for cube in ("hour_model", "minute_project"):
            assert store.rollup(cube) == store.recount(cube)
    store.close()
    assert where_is(b"quagga", tmp_path) == []
    check(tmp_path / "calls-20260922.db")


def test_a_file_from_before_there_were_spans_gets_their_tables_and_knows_its_calls_traces(
    tmp_path: Path,
) -> None:
    store = open_call_store(tmp_path)
    old = [sample_call(ms=NOON_MS + i, user="u", trace_parent=in_trace(i)) for i in range(1, 4)]
    store.insert(old)
    store.close()
    for path in tmp_path.glob("*.db"):
        connection = connect(path, formats=DAY_FORMATS)
        for table in ("span", "trace", "trace_call", "erased_trace"):
            connection.execute(f"DROP TABLE {table}")
        connection.close()
    reader = open_call_store(tmp_path, read_only=True)
    assert reader.traces() == list(reader.spans()) == []
    assert reader.trace(f"{2:032x}") is None
    store = open_call_store(tmp_path)
    assert store.insert_spans([sample_span(2, 1)]) == 1
    for one in (store, reader):
        found = one.trace(f"{2:032x}")
        assert found is not None
        assert [call.id for call in found.calls] == [old[1].id]
        assert [row.calls for row in one.traces()] == [1]
    assert len(store.erase(Erasure(user="u"))) == 3
    assert reader.traces() == []
    reader.close()
    store.close()
