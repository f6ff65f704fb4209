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
from trimtab.storage.sqlite.rows import ADDED
from trimtab.storage.sqlite.schema import DAY_FORMATS, LOOKUPS
from trimtab.testing.calls import NOON_MS, sample_call, unfinished
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
    assert where_is(packed(gone[33])[40:72], tmp_path)
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
    for name in ("hour_model", "hour_prompt", "day_user", "minute_project"):
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


def age(path: Path) -> None:
    """Make a day file what 0.1 would have made of the same calls."""
    connection = connect(path, formats=DAY_FORMATS)
    for name in LOOKUPS:
        connection.execute(f"DROP INDEX {name}")
    connection.execute("DELETE FROM meta WHERE name IN ('complete', 'clean')")
    connection.execute("DELETE FROM rollup WHERE cube = 3")
    for name in ADDED:
        connection.execute(f"ALTER TABLE calls DROP COLUMN {name}")
    connection.close()


def test_a_file_of_an_earlier_version_is_read_completed_and_cleaned(tmp_path: Path) -> None:
    store = open_call_store(tmp_path)
    calls = [marked(i, provider_response_id=f"resp-{i}") for i in range(30)]
    store.insert(calls)
    while store.index_pending():
        pass
    store.close()
    path = tmp_path / "calls-20260922.db"
    age(path)
    connection = connect(path, formats=DAY_FORMATS)
    connection.pragma("secure_delete", 0)
    connection.execute(f"CREATE TABLE junk AS SELECT printf('{MARKER}%.4000c', 'x') FROM calls")
    connection.execute("DROP TABLE junk")
    connection.close()

    reader = open_call_store(tmp_path, read_only=True)
    assert reader.rollup("minute_project") == reader.recount("minute_project") == []
    assert reader.find_response("resp-7") == calls[7].id
    assert [row.calls for row in reader.sessions()] == [30]
    assert reader.sessions(project="nobody") == []
    assert reader.sessions(before=calls[9].id) == []
    store = open_call_store(tmp_path)
    store.insert([plain(1)])
    assert sum(row.calls for row in reader.rollup("minute_project")) == 31
    assert reader.rollup("minute_project") == reader.recount("minute_project")
    assert reader.find_response("resp-7") == calls[7].id
    assert [row.calls for row in reader.sessions()] == [30, 1]
    assert where_is(MARKER.encode() + b"xxxx", tmp_path)
    assert len(store.erase(Erasure(session=f"{MARKER}-session"))) == 30
    assert where_is(MARKER.encode(), tmp_path) == []
    store.close()
    reader.close()
    check(path)


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
