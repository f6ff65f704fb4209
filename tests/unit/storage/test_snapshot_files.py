"""The snapshot's files: whole or not at all, whatever happens to them."""

import json
import os
import threading
from pathlib import Path

import msgspec
import pytest

from trimtab.storage.files import FileSnapshotStore, open_snapshot_store
from trimtab.types import FormatTooNew, Policy, ProviderSpec, Release, Snapshot, StorageError


def snapshot(generation: int, **fields: object) -> Snapshot:
    return Snapshot(generation=generation, **fields)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> FileSnapshotStore:
    return open_snapshot_store(tmp_path / "snapshot")


def part_files(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "snapshot" / "parts").iterdir()}


def test_files_are_private(tmp_path: Path, store: FileSnapshotStore) -> None:
    old = os.umask(0)
    try:
        store.publish(snapshot(1))
        store.report("worker-1", 1)
    finally:
        os.umask(old)
    paths = list(tmp_path.rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}


def test_parts_are_shared_by_content_and_old_ones_go(tmp_path: Path, store: FileSnapshotStore) -> None:
    store.publish(snapshot(1, default_model="own/1"))
    first = part_files(tmp_path)
    store.publish(snapshot(2, default_model="own/2"))
    second = part_files(tmp_path)
    assert len(second - first) == 1
    assert first < second
    store.publish(snapshot(3, default_model="own/3"))
    third = part_files(tmp_path)
    assert len(first - third) == 1
    assert len(third) == len(second)
    manifest = json.loads((tmp_path / "snapshot" / "snapshot.json").read_bytes())
    assert manifest["format"] == 1
    assert set(manifest["parts"]) == set(Snapshot.__struct_fields__) - {"generation"}


def test_every_flipped_byte_of_a_part_is_noticed(tmp_path: Path, store: FileSnapshotStore) -> None:
    release = Release(model="own/small")
    store.publish(snapshot(1, releases={release.id(): release}))
    manifest = json.loads((tmp_path / "snapshot" / "snapshot.json").read_bytes())
    path = tmp_path / "snapshot" / "parts" / f"{manifest['parts']['releases']}.json"
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(StorageError, match="damaged"):
            store.load()
    for cut in (0, len(good) - 1):
        path.write_bytes(good[:cut])
        with pytest.raises(StorageError, match="damaged"):
            store.load()
    path.unlink()
    with pytest.raises(StorageError, match=path.name):
        store.load()
    store.publish(snapshot(2, releases={release.id(): release}))
    assert store.load().releases == {release.id(): release}


def test_a_torn_part_of_an_earlier_crash_is_not_trusted_by_its_name(
    tmp_path: Path, store: FileSnapshotStore
) -> None:
    store.publish(snapshot(1))
    for path in (tmp_path / "snapshot" / "parts").iterdir():
        path.write_bytes(b"")
    store.publish(snapshot(2))
    assert store.load() == snapshot(2)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"format": 1}', b'{"format": "1"}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, store: FileSnapshotStore, raw: bytes) -> None:
    store.publish(snapshot(1))
    (tmp_path / "snapshot" / "snapshot.json").write_bytes(raw)
    for action in (store.load, store.generation, lambda: store.publish(snapshot(2))):
        with pytest.raises(StorageError, match=r"snapshot.json is damaged"):
            action()


def test_a_hash_that_leads_out_of_the_folder_is_refused(tmp_path: Path, store: FileSnapshotStore) -> None:
    store.publish(snapshot(1))
    manifest = {"format": 1, "generation": 2, "parts": {"policy": "../../etc/passwd"}}
    (tmp_path / "snapshot" / "snapshot.json").write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="no SHA-256"):
        store.load()


def test_a_newer_format_is_refused_whatever_its_manifest_looks_like(
    tmp_path: Path, store: FileSnapshotStore
) -> None:
    store.publish(snapshot(1))
    (tmp_path / "snapshot" / "snapshot.json").write_text('{"format": 2, "unheard": "of"}')
    for action in (store.load, store.generation, lambda: store.publish(snapshot(9))):
        with pytest.raises(FormatTooNew, match=r"format 2, .* up to 1: a newer Trimtab"):
            action()


def test_an_older_publisher_may_leave_sections_out(tmp_path: Path, store: FileSnapshotStore) -> None:
    store.publish(snapshot(1, default_model="own/small"))
    path = tmp_path / "snapshot" / "snapshot.json"
    manifest = json.loads(path.read_bytes())
    del manifest["parts"]["catalog"]
    path.write_text(json.dumps(manifest))
    assert store.load() == snapshot(1, default_model="own/small")
    manifest["parts"]["novelty"] = manifest["parts"]["policy"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(FormatTooNew, match="'novelty'"):
        store.load()


def test_readers_see_one_generation_whole_while_others_are_published(
    tmp_path: Path, store: FileSnapshotStore
) -> None:
    store.publish(snapshot(1, default_model="own/1", policy=Policy(durability="1")))
    stop = threading.Event()
    failures: list[object] = []
    loads = 0

    def read() -> None:
        nonlocal loads
        reader, last = open_snapshot_store(tmp_path / "snapshot"), 0
        while not stop.is_set():
            try:
                polled, found = reader.generation(), reader.load()
            except StorageError as error:
                failures.append(error)
                return
            number = found.generation
            whole = found.default_model == f"own/{number}" and found.policy.durability == str(number)
            if not whole or not last <= polled <= number:
                failures.append((last, polled, found))
            last, loads = number, loads + 1

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(2, 60):
        store.publish(snapshot(number, default_model=f"own/{number}", policy=Policy(durability=str(number))))
    stop.set()
    thread.join(30)
    assert failures == []
    assert loads > 0
    assert store.load().generation == 59


def test_reports_of_nonsense_are_left_out(tmp_path: Path, store: FileSnapshotStore) -> None:
    store.report("worker-1", 4)
    reports = tmp_path / "snapshot" / "reports"
    (reports / "worker-2").write_bytes(b"torn")
    (reports / ".worker-3.tmp").write_bytes(b"5")
    assert list(store.reports()) == [("worker-1", 4)]
    for name in ("", ".", "..", "a/b", "a\x00", "a" * 101, ".hidden"):
        with pytest.raises(StorageError, match="worker name"):
            store.report(name, 1)


def test_polling_reads_nothing_while_nothing_changes(tmp_path: Path, store: FileSnapshotStore) -> None:
    store.publish(snapshot(1))
    reader = open_snapshot_store(tmp_path / "snapshot")
    assert reader.generation() == 1
    path = tmp_path / "snapshot" / "snapshot.json"
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"generation": 1', b'"generation": 8'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert reader.generation() == 1, "it looked into a file whose status is as before"
    assert open_snapshot_store(tmp_path / "snapshot").generation() == 8


def test_no_secret_stands_in_the_files(
    tmp_path: Path, store: FileSnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    spec = ProviderSpec(name="openai", api_key="${OPENAI_API_KEY}")
    store.publish(snapshot(1, providers=(spec,)))
    assert store.load().providers == (spec,)
    assert not any(b"sk-very" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_the_same_snapshot_makes_the_same_parts(tmp_path: Path, store: FileSnapshotStore) -> None:
    options = {"b": 1, "a": {"d": 2, "c": 3}}
    store.publish(snapshot(1, catalog=options))
    before = part_files(tmp_path)
    store.publish(snapshot(2, catalog=msgspec.json.decode(b'{"a":{"c":3,"d":2},"b":1}')))
    assert part_files(tmp_path) == before
