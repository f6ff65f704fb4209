"""Who holds a data folder, and what lies in it."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.serve.folder import FolderLock, Layout, busy_text, clean_run
from trimtab.serve.local import open_local
from trimtab.serve.runfile import (
    ChildState,
    Processes,
    find_running,
    make_token,
    read_processes,
    write_admin,
    write_private,
    write_processes,
)
from trimtab.types import FolderBusy, StorageError

HOLDER = """
import sys
from pathlib import Path
from trimtab.serve.folder import FolderLock, Layout
lock = FolderLock(Layout(Path(sys.argv[1])))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "data")
    made.make()
    return made


@pytest.fixture
def holder(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until its stdin ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(layout.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def set_of(supervisor: int, *, stopping: bool = False, child: int = 0) -> Processes:
    state = ChildState(name="worker-1", pid=child, ready=True, restarts=0, since_us=0)
    return Processes(
        supervisor=supervisor,
        gateway="http://127.0.0.1:8400",
        console="http://127.0.0.1:8401",
        children=(state,),
        stopping=stopping,
    )


def a_dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_folders_are_closed_to_others_even_where_they_were_open(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    Layout(root).make()
    for folder in (root, root / "run", root / "log"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"data folder .*file/data cannot be used.*--data"):
        Layout(tmp_path / "file" / "data").make()


def test_a_held_folder_is_refused_and_free_again_when_the_holder_is_killed(
    layout: Layout, holder: subprocess.Popen[str]
) -> None:
    write_processes(layout.run, set_of(holder.pid))
    with FolderLock(layout) as lock:
        with pytest.raises(FolderBusy, match=rf"is running already .*pids {holder.pid}.*kill {holder.pid}"):
            lock.acquire(ending_s=0.1)
        holder.kill()
        lock.acquire()


def test_the_lock_outlives_the_supervisor_while_a_child_has_it(layout: Layout) -> None:
    with FolderLock(layout) as lock:
        lock.acquire()
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(lock.fd,)
        )
    with FolderLock(layout) as other:
        with pytest.raises(FolderBusy):
            other.acquire(ending_s=0.0)
        child.kill()
        child.wait()
        other.acquire(ending_s=0.0)
    assert child.stdin is not None
    child.stdin.close()


def test_a_start_waits_for_those_that_are_ending(layout: Layout, holder: subprocess.Popen[str]) -> None:
    write_processes(layout.run, set_of(holder.pid, stopping=True))
    said: list[str] = []

    def let_go(text: str) -> None:
        said.append(text)
        holder.kill()

    with FolderLock(layout) as lock:
        lock.acquire(say=let_go)
    assert "waiting for the processes" in said[0]


def test_the_refusal_fits_who_holds_the_folder(tmp_path: Path) -> None:
    me, dead = os.getpid(), a_dead_pid()
    assert "another trimtab command" in busy_text(tmp_path, None)
    assert "another trimtab command" in busy_text(tmp_path, set_of(dead))
    assert f"kill {me}" in busy_text(tmp_path, set_of(me, child=dead))
    orphaned = busy_text(tmp_path, set_of(dead, child=me))
    assert "whose supervisor is gone" in orphaned
    assert f"kill {me}" in orphaned


def test_private_files_are_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_private(tmp_path / "taken", b"x")
    assert {p.name for p in tmp_path.iterdir()} == {"file", "taken"}


def test_what_runs_is_found_only_while_it_runs(layout: Layout, holder: subprocess.Popen[str]) -> None:
    assert find_running(layout.root) is None
    token = make_token(layout.run)
    write_admin(layout.run, "http://127.0.0.1:8401")
    assert find_running(layout.root) is None
    write_processes(layout.run, set_of(holder.pid))
    found = find_running(layout.root)
    assert found is not None
    assert (found.url, found.token, found.gateway) == (
        "http://127.0.0.1:8401",
        token,
        "http://127.0.0.1:8400",
    )
    # After a `kill -9` the files are still there, but the lock is free.
    holder.kill()
    holder.wait()
    assert find_running(layout.root) is None
    (layout.run / ".pids.json.0193").write_bytes(b"the draft of one that was killed while writing")
    clean_run(layout)
    assert list(layout.run.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"supervisor":"x"}', b"\xff"])
def test_damaged_run_files_count_as_none(layout: Layout, content: bytes) -> None:
    for name in ("pids.json", "admin.json", "admin.token"):
        (layout.run / name).write_bytes(content)
    assert read_processes(layout.run) is None
    assert find_running(layout.root) is None


def test_offline_commands_hold_the_folder_alone(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with open_local(root) as local:
        assert local.app.keys() == []
        assert local.calls.count() == 0
        with pytest.raises(FolderBusy, match="another trimtab command"), open_local(root, ending_s=0.0):
            pass
    with open_local(root):
        pass
