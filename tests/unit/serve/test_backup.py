"""Backups: whole, private, checked before anything is made of them, and refused where they are of no use."""

import json
import lzma
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trimtab.ledger import LogWriter, Recorder, request_erasure
from trimtab.serve import back_up, known_backups, migrate, migration_steps, open_local, restore
from trimtab.serve.folder import FolderLock, Layout
from trimtab.storage import CallQuery, Erasure
from trimtab.storage.sqlite import open_call_store
from trimtab.storage.sqlite.app.migrations import create_tables
from trimtab.storage.sqlite.connection import connect
from trimtab.testing.calls import NOON_MS, sample_call
from trimtab.types import CallerError, FolderBusy, FormatTooNew, StorageError

FORMAT_1 = Path(__file__).parents[1] / "storage" / "data" / "format-1.db.xz"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "data")
    layout.make()
    with open_local(layout.root) as local:
        local.app.put_setting("theme", "dark")
        local.calls.insert([sample_call(ms=NOON_MS + i * 40_000_000, user="ann") for i in range(6)])
    (layout.root / "secret.key").write_bytes(b"k" * 32)
    (layout.counters / "w.counters").write_bytes(b"counted")
    return layout


def log_calls(layout: Layout, number: int) -> list[str]:
    writer = LogWriter(layout.log, "worker-1")
    calls = [sample_call() for _ in range(number)]
    for call in calls:
        writer.append(call.opened)
        if call is not calls[-1]:
            writer.append(call.closed)
    writer.close()
    return [call.id for call in calls]


def ids(root: Path) -> dict[str, str]:
    with open_local(root) as local:
        for cube in ("hour_model", "hour_prompt", "day_user", "minute_project", "sixhour_model"):
            assert local.calls.rollup(cube) == local.calls.recount(cube)
        return {call.id: call.state for call in local.calls.find(CallQuery(limit=10_000))}


def test_what_was_backed_up_is_what_is_restored(layout: Layout, tmp_path: Path) -> None:
    logged = log_calls(layout, 3)
    done = back_up(layout, tmp_path / "copy")
    assert done.files == sum(1 for path in (tmp_path / "copy").rglob("*") if path.is_file()) - 1
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]
    restored = restore(tmp_path / "copy", tmp_path / "new" / "data")
    assert (restored.files, restored.bytes) == (done.files, done.bytes)
    root = tmp_path / "new" / "data"
    assert (root / "counters" / "w.counters").read_bytes() == b"counted"
    assert not (root / "secret.key").exists()
    for folder in (tmp_path / "copy", root):
        modes = {path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
        assert modes == {0o700, 0o600}
    found = ids(root)
    assert found == ids(layout.root)
    assert [found[one] for one in logged] == ["ok", "ok", "unfinished"]
    with open_local(root) as local:
        assert local.app.setting("theme") == "dark"


def test_the_secret_is_copied_when_asked_for(layout: Layout, tmp_path: Path) -> None:
    back_up(layout, tmp_path / "copy", with_secret=True)
    restore(tmp_path / "copy", tmp_path / "new")
    assert (tmp_path / "new" / "secret.key").read_bytes() == b"k" * 32


def test_an_empty_folder_can_be_restored_into(layout: Layout, tmp_path: Path) -> None:
    back_up(layout, tmp_path / "copy")
    (tmp_path / "new").mkdir()
    restore(tmp_path / "copy", tmp_path / "new")
    assert len(ids(tmp_path / "new")) == 6


def test_calls_that_move_meanwhile_are_in_the_backup_once(layout: Layout, tmp_path: Path) -> None:
    """The recorder stores and removes segments, and a day is dropped, while copies are made again and again."""
    stop = threading.Event()
    made: list[str] = []

    def work() -> None:
        store = open_call_store(layout.calls)
        writer = LogWriter(layout.log, "worker-1", segment_bytes=20_000)
        with Recorder(layout.log, store) as recorder:
            while not stop.is_set():
                for _ in range(20):
                    call = sample_call()
                    writer.append(call.opened)
                    writer.append(call.closed)
                    made.append(call.id)
                recorder.step()
            recorder.drain()
        store.close()
        writer.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while len(made) < 100:
            pass
        for number in range(5):
            known = set(made)
            back_up(layout, tmp_path / f"copy{number}")
            restore(tmp_path / f"copy{number}", tmp_path / f"new{number}")
            found = ids(tmp_path / f"new{number}")
            assert known <= set(found)
            assert {found[one] for one in known} == {"ok"}
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("harm", ["change", "shorten", "remove", "manifest", "path"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(layout: Layout, tmp_path: Path, harm: str) -> None:
    copy = tmp_path / "copy"
    back_up(layout, copy)
    file = copy / "calls-20260922.db"
    content = bytearray(file.read_bytes())
    manifest = json.loads((copy / "backup.json").read_text())
    if harm == "change":
        content[-1] ^= 1
        file.write_bytes(content)
    elif harm == "shorten":
        file.write_bytes(content[:-1])
    elif harm == "remove":
        file.unlink()
    elif harm == "manifest":
        (copy / "backup.json").write_text("{")
    else:
        manifest["files"][0]["path"] = "../outside"
        (copy / "backup.json").write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="use another backup"):
        restore(copy, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "data"]


@pytest.mark.parametrize("field", ["format", "app_format", "day_format", "log_format"])
def test_a_newer_backup_is_refused(layout: Layout, tmp_path: Path, field: str) -> None:
    back_up(layout, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy" / "backup.json").read_text())
    manifest[field] += 1
    if field == "format":
        manifest = {"format": manifest["format"], "unheard": "of"}
    (tmp_path / "copy" / "backup.json").write_text(json.dumps(manifest))
    with pytest.raises(FormatTooNew):
        restore(tmp_path / "copy", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_places_that_will_not_do_are_refused(layout: Layout, tmp_path: Path) -> None:
    back_up(layout, tmp_path / "copy")
    for target, why in (
        (tmp_path / "copy", "is there already"),
        (tmp_path / "none" / "copy", "make it first"),
        (layout.root / "copy", "lies in the data folder itself"),
        (layout.log / "copy", "lies in the data folder itself"),
    ):
        with pytest.raises(CallerError, match=why):
            back_up(layout, target)
    with pytest.raises(CallerError, match="not empty"):
        restore(tmp_path / "copy", layout.root)
    with pytest.raises(CallerError, match="is no backup"):
        restore(layout.root, tmp_path / "new")


def test_backups_are_remembered_while_they_are_there(layout: Layout, tmp_path: Path) -> None:
    assert known_backups(layout) == []
    for name in ("b", "a"):
        back_up(layout, tmp_path / name)
    assert known_backups(layout) == [str(tmp_path / "b"), str(tmp_path / "a")]
    shutil.rmtree(tmp_path / "b")
    assert known_backups(layout) == [str(tmp_path / "a")]


def test_a_backup_made_after_an_erasure_has_no_trace(layout: Layout, tmp_path: Path) -> None:
    log_calls(layout, 3)
    with open_local(layout.root) as local:
        assert local.calls.count() == 9
    request_erasure(layout.log, Erasure(user="ann"))
    with open_local(layout.root) as local:
        assert local.calls.count() == 0
    back_up(layout, tmp_path / "copy")
    assert not [p for p in (tmp_path / "copy").rglob("*") if p.is_file() and b"invoice" in p.read_bytes()]


def test_migration_is_told_then_done(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    assert migration_steps(layout) == []
    layout.app.touch(mode=0o600)
    connection = connect(layout.app, formats=range(1))
    create_tables(connection)
    connection.pragma("user_version", 1)
    connection.close()
    day = tmp_path / "calls-20260922.db"
    day.write_bytes(lzma.decompress(FORMAT_1.read_bytes()))
    (tmp_path / "manifest.json").write_text('{"format":1}')
    before = {path: path.read_bytes() for path in (layout.app, day)}
    steps = migration_steps(layout)
    assert [(step.path.name, step.backed_up) for step in steps] == [("app.db", True), (day.name, True)]
    assert {path: path.read_bytes() for path in before} == before
    with FolderLock(layout) as lock:
        lock.acquire()
        with pytest.raises(FolderBusy):
            migrate(layout)
        assert migration_steps(layout) == steps
    assert migrate(layout) == steps
    assert migration_steps(layout) == []
    assert migrate(layout) == []
    assert len(list(tmp_path.glob("app.db.bak-1-*"))) == 1
    assert (tmp_path / f"{day.name}.bak-1").read_bytes() == before[day]
    store = open_call_store(layout.calls)
    assert store.count() == 151
    assert store.rollup("minute_project") == store.recount("minute_project") != []
    store.close()


def test_a_backup_that_was_cut_short_is_known_and_cleared_away(layout: Layout, tmp_path: Path) -> None:
    """What is erased meanwhile, its draft may hold; a draft that is being written is left alone."""
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from trimtab.serve import Layout, back_up\nfrom trimtab.storage import sqlite\n"
        "sqlite.copy_database = lambda *_: (print('half', flush=True), sys.stdin.read())\n"
        "back_up(Layout(Path(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(layout.root), str(tmp_path / "copy")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"half\n"
        (draft,) = tmp_path.glob(".copy.*.partial")
        assert known_backups(layout) == [str(tmp_path / "copy")]
        back_up(layout, tmp_path / "other")
        assert draft.exists()
        maker.kill()
    assert known_backups(layout) == [str(draft), str(tmp_path / "other")]
    with pytest.raises(CallerError, match="is no backup"):
        restore(draft, tmp_path / "new")
    back_up(layout, tmp_path / "copy")
    assert not draft.exists()
    assert known_backups(layout) == [str(tmp_path / "copy"), str(tmp_path / "other")]


def test_a_link_to_an_empty_folder_is_restored_into(layout: Layout, tmp_path: Path) -> None:
    back_up(layout, tmp_path / "copy")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    restore(tmp_path / "copy", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(ids(tmp_path / "real")) == 6


def test_an_empty_file_system_is_restored_into(layout: Layout, small_disk: Path, tmp_path: Path) -> None:
    """A volume cannot be replaced by a folder, and nothing is moved into it from another."""
    back_up(layout, tmp_path / "copy")
    (small_disk / "lost+found").mkdir()
    restore(tmp_path / "copy", small_disk)
    assert not [path for path in small_disk.iterdir() if "partial" in path.name]
    assert len(ids(small_disk)) == 6
    with pytest.raises(CallerError, match="not empty"):
        restore(tmp_path / "copy", small_disk)
