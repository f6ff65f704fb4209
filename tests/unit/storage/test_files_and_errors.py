"""What the files under all stores promise: one-step replacement, errors that name the file and the mend."""

from pathlib import Path

import pytest

from trimtab.storage.atomic import write_atomically
from trimtab.storage.sqlite.connection import connect, create_file, storage_errors, transaction
from trimtab.storage.sqlite.payload import PayloadCodec
from trimtab.types import StorageError


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_in_one_step_and_private(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file.json"
    for data in (b"first", b"second", b""):
        before = path.open("rb") if path.exists() else None
        write_atomically(path, data, durable=durable)
        assert path.read_bytes() == data
        assert path.stat().st_mode & 0o777 == 0o600
        if before is not None:
            assert before.read() != data, "whoever had the old file open must go on reading the old one"
            before.close()
    assert [found.name for found in tmp_path.iterdir()] == ["file.json"]


def test_two_quick_writes_differ_in_their_status(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    seen = set()
    for number in range(200):
        write_atomically(path, b"%03d" % number, durable=False)
        seen.add(path.stat().st_mtime_ns)
    assert len(seen) == 200


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "child").touch()
    with pytest.raises(OSError, match=r"folder"):
        write_atomically(folder, b"a folder with something in it cannot be replaced")
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "file", b"")


def test_a_full_disk_is_called_that_and_undoes_the_transaction(tmp_path: Path) -> None:
    path = tmp_path / "small.db"
    create_file(path)
    connection = connect(path, formats=range(1))
    connection.execute("CREATE TABLE t (x)")
    connection.pragma("max_page_count", 20)
    with pytest.raises(StorageError, match=r"small.db cannot grow: the disk is full"), storage_errors(path):
        with transaction(connection):
            connection.executemany("INSERT INTO t VALUES (zeroblob(4000))", [()] * 100)
    assert connection.execute("SELECT count(*) FROM t").get == 0
    connection.close()


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.db", tmp_path):
        with pytest.raises(StorageError, match=path.name):
            connect(path, formats=range(1))


def test_a_payload_of_a_codec_to_come_is_refused() -> None:
    codec = PayloadCodec()
    packed = codec.pack((b"a", b"b", b"c"))
    assert codec.unpack(1, packed) == (b"a", b"b", b"c")
    with pytest.raises(StorageError, match=r"codec 2.*upgrade"):
        codec.unpack(2, packed)


def test_a_typical_payload_is_less_than_half_its_size() -> None:
    request = b'{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"How far is the moon?"}],"temperature":0.7}'  # noqa: E501
    response = b'{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion","created":1741569952,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"About 384,400 km.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}}'  # noqa: E501
    assert len(PayloadCodec().pack((request, response, b""))) < (len(request) + len(response)) / 2.5
