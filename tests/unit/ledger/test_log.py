"""The writing side: what an append promises, also when the disk is full and where segments roll."""

import asyncio
import fcntl
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from trimtab.ledger import LogWriter, log, sync
from trimtab.ledger.frames import HEADER_BYTES, FrameScanner
from trimtab.ledger.segment import create_segment, is_locked, segment_uuid
from trimtab.testing import FrozenClock
from trimtab.types.errors import ConfigError, LedgerUnavailable


def segments(folder):
    return sorted(folder.glob("*.log"), key=lambda path: path.name[-40:])


def records(path):
    data = path.read_bytes()
    scanner = FrameScanner(segment_uuid(path.stem).bytes)
    found = [one.record for one in scanner.feed(data)]
    assert scanner.damaged_bytes == 0
    assert scanner.offset == len(data), "a torn frame was left"
    return found


def all_records(folder):
    return [record for path in segments(folder) for record in records(path)]


@contextmanager
def largest_file(size):
    """Let no file grow beyond `size` bytes: the kernel writes what fits, and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def writer(tmp_path):
    writer = LogWriter(tmp_path / "log", "worker-1")
    yield writer
    writer.close()


def locked(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return is_locked(fd)
    finally:
        os.close(fd)


def test_an_append_is_in_the_file_at_once(tmp_path, writer, opened, closed):
    first = opened()
    writer.append(first)
    assert all_records(tmp_path / "log") == [first]
    second = closed(first.id)
    writer.append(second)
    assert all_records(tmp_path / "log") == [first, second]
    assert writer.failure == ""
    assert not writer.waits


def test_files_are_closed_to_others(tmp_path, writer):
    folder = tmp_path / "log"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (path,) = segments(folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.name.startswith("worker-1-")


def test_the_lock_lives_as_long_as_the_writer(tmp_path, writer):
    (path,) = segments(tmp_path / "log")
    assert locked(path)
    writer.close()
    assert not locked(path)
    writer.close()


def test_a_child_that_is_started_does_not_keep_the_lock(tmp_path, writer):
    (path,) = segments(tmp_path / "log")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        writer.close()
        # The kernel lets a child's parent go on a moment before it closes the child's descriptors.
        deadline = time.monotonic() + 10
        while locked(path) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not locked(path)
        assert child.poll() is None
        child.communicate(b"\n")


def test_append_after_close_is_refused(writer, opened):
    writer.close()
    with pytest.raises(LedgerUnavailable, match="closed"):
        writer.append(opened())


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "a b", "x" * 65, "a\n"])
def test_names_that_cannot_stand_in_a_file_name(tmp_path, name):
    with pytest.raises(ConfigError, match="must be 1 to 64 letters"):
        LogWriter(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_segments_roll_and_one_is_locked_at_every_moment(tmp_path, opened):
    folder = tmp_path / "log"
    writer = LogWriter(folder, "w", segment_bytes=2_000)
    written = []
    for _ in range(40):
        written.append(opened())
        writer.append(written[-1])
        assert [locked(path) for path in segments(folder)][-1]
        assert not any(locked(path) for path in segments(folder)[:-1])
    assert all_records(folder) == written
    paths = segments(folder)
    assert len(paths) > 3
    for path in paths[:-1]:
        # The record that crosses the size is the last one.
        assert 2_000 <= path.stat().st_size < 2_400
    writer.close()


def test_segments_of_a_writer_stay_in_order_when_the_clock_steps_back(tmp_path, opened):
    clock = FrozenClock()
    writer = LogWriter(tmp_path, "w", segment_bytes=1, clock=clock)
    written = []
    for _ in range(10):
        written.append(opened())
        writer.append(written[-1])
        clock.set_now_us(clock.now_us() - 60_000_000)
    writer.close()
    assert all_records(tmp_path) == written


def test_a_full_disk_leaves_no_part_of_a_record_and_writing_resumes(tmp_path, writer, opened):
    folder = tmp_path / "log"
    written = [opened(request=b"x" * 500)]
    writer.append(written[0])
    size = segments(folder)[0].stat().st_size
    for room in (0, 1, 10, 300):
        with largest_file(size + room):
            with pytest.raises(LedgerUnavailable, match="cannot be written"):
                writer.append(opened(request=b"y" * 500))
        assert segments(folder)[0].stat().st_size == size
        assert writer.failure
    written.append(opened())
    writer.append(written[-1])
    assert writer.failure == ""
    assert all_records(folder) == written


def test_a_smaller_record_still_fits_where_a_larger_did_not(tmp_path, writer, opened):
    size = segments(tmp_path / "log")[0].stat().st_size
    small = opened(request=b"")
    with largest_file(size + 1000):
        with pytest.raises(LedgerUnavailable):
            writer.append(opened(request=b"y" * 5000))
        writer.append(small)
    assert all_records(tmp_path / "log") == [small]


def test_a_writer_starts_on_a_full_disk_and_writes_when_there_is_room(tmp_path, opened):
    with largest_file(10):
        writer = LogWriter(tmp_path, "w")
        assert writer.failure
        with pytest.raises(LedgerUnavailable):
            writer.append(opened())
    assert list(tmp_path.iterdir()) == []
    record = opened()
    writer.append(record)
    writer.close()
    assert all_records(tmp_path) == [record]


def test_a_roll_that_fails_goes_on_in_the_old_segment(tmp_path, opened, monkeypatch):
    writer = LogWriter(tmp_path, "w", segment_bytes=500)
    written = [opened(), opened()]
    for record in written:
        writer.append(record)
    count = len(segments(tmp_path))

    def refuse(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log, "create_segment", refuse)
        for _ in range(4):
            written.append(opened())
            writer.append(written[-1])
    assert len(segments(tmp_path)) == count
    written.append(opened())
    writer.append(written[-1])
    writer.close()
    assert len(segments(tmp_path)) == count + 1
    assert all_records(tmp_path) == written


def test_a_torn_frame_that_cannot_be_taken_back_ends_the_segment(tmp_path, writer, opened, monkeypatch):
    folder = tmp_path / "log"
    first = opened()
    writer.append(first)
    size = segments(folder)[0].stat().st_size

    def refuse(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, largest_file(size + 50):
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(LedgerUnavailable):
            writer.append(opened())
    second = opened()
    writer.append(second)
    torn, fresh = segments(folder)
    assert torn.stat().st_size == size + 50
    assert records(fresh) == [second]
    assert not locked(torn)


def test_what_cannot_be_encoded_is_refused_and_leaves_nothing(tmp_path, writer, opened, closed):
    with pytest.raises(LedgerUnavailable, match="'broken' cannot be encoded"):
        writer.append(closed("broken", findings=({"o": object()},)))
    record = opened(client="lone \ud800 surrogate")
    writer.append(record)
    assert [found.id for found in all_records(tmp_path / "log")] == [record.id]


def test_many_threads_may_append(tmp_path, writer, opened):
    def work():
        for size in range(50):
            writer.append(opened(request=b"x" * size * 37))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(all_records(tmp_path / "log")) == 200


def test_a_segment_is_never_visible_without_lock_and_header(tmp_path):
    seen = []
    done = threading.Event()

    def look():
        while not done.is_set():
            for path in tmp_path.glob("*.log"):
                seen.append((locked(path), path.stat().st_size >= HEADER_BYTES))

    thread = threading.Thread(target=look)
    thread.start()
    fds = [create_segment(tmp_path, "w", bytes(16), 1_790_000_000_000_000 + n * 1000).fd for n in range(200)]
    done.set()
    thread.join()
    for fd in fds:
        os.close(fd)
    assert seen
    assert set(seen) == {(True, True)}


# durability = "power"


@pytest.fixture
def syncs(monkeypatch):
    """Count synchronisations, and let the test fail or hold them."""

    class Syncs:
        def __init__(self):
            self.count = 0
            self.error = None
            self.gate = threading.Event()
            self.gate.set()

    state = Syncs()
    real = sync.sync_file

    def counted(fd):
        state.gate.wait(10)
        state.count += 1
        if state.error:
            raise state.error
        real(fd)

    monkeypatch.setattr(log, "sync_file", counted)
    return state


def test_process_durability_waits_for_no_disk(tmp_path, writer, opened, syncs):
    record = opened()
    asyncio.run(writer.append_durable(record))
    assert all_records(tmp_path / "log") == [record]
    assert syncs.count == 0


def test_many_waiters_share_a_synchronisation(tmp_path, opened, syncs):
    writer = LogWriter(tmp_path, "w", durability="power")
    assert writer.waits
    written = [opened() for _ in range(100)]

    async def main():
        await asyncio.gather(*(writer.append_durable(record) for record in written))

    asyncio.run(main())
    # The first runs alone; all who came while it ran share the second.
    assert syncs.count == 2
    writer.close()
    assert all_records(tmp_path) == written


def test_nobody_is_told_before_a_sync_that_began_after_its_record(tmp_path, opened, syncs):
    writer = LogWriter(tmp_path, "w", durability="power")
    order = []

    async def one(name):
        await writer.append_durable(opened())
        order.append((name, syncs.count))

    async def main():
        syncs.gate.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one("first"))
            await asyncio.sleep(0)
            tasks.create_task(one("second"))
            await asyncio.sleep(0)
            assert order == []
            syncs.gate.set()
        assert [name for name, _ in order] == ["first", "second"]
        assert dict(order)["second"] == 2

    asyncio.run(main())
    writer.close()


def test_a_failed_sync_reaches_all_its_waiters_and_the_next_record_goes_elsewhere(tmp_path, opened, syncs):
    writer = LogWriter(tmp_path, "w", durability="power")

    async def main():
        syncs.error = OSError(5, "Input/output error")
        syncs.gate.clear()
        tasks = [asyncio.ensure_future(writer.append_durable(opened())) for _ in range(3)]
        await asyncio.sleep(0)
        syncs.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        # The second and third came too late for that synchronisation, but wrote to the same lost file.
        assert [type(result) for result in results] == [LedgerUnavailable] * 3
        assert syncs.count == 1
        syncs.error = None
        await writer.append_durable(opened())

    asyncio.run(main())
    writer.close()
    assert len(segments(tmp_path)) == 2
    assert len(records(segments(tmp_path)[-1])) == 1


def test_a_cancelled_waiter_takes_nobody_with_it(tmp_path, opened, syncs):
    writer = LogWriter(tmp_path, "w", durability="power")

    async def main():
        syncs.gate.clear()
        first = asyncio.ensure_future(writer.append_durable(opened()))
        second = asyncio.ensure_future(writer.append_durable(opened()))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        syncs.gate.set()
        await second
        assert first.cancelled()

    asyncio.run(main())
    writer.close()
    assert len(all_records(tmp_path)) == 2


def test_rolled_segments_are_synchronised_too_and_let_go_of(tmp_path, opened, syncs):
    writer = LogWriter(tmp_path, "w", durability="power", segment_bytes=1)

    async def main():
        for _ in range(3):
            writer.append(opened())
        await writer.append_durable(opened())

    asyncio.run(main())
    assert syncs.count == 5  # the first, empty segment was rolled as well
    assert [locked(path) for path in segments(tmp_path)] == [False] * 4 + [True]
    writer.close()


def test_close_confirms_who_still_waits(tmp_path, opened, syncs):
    writer = LogWriter(tmp_path, "w", durability="power")

    async def main():
        syncs.gate.clear()
        tasks = [asyncio.ensure_future(writer.append_durable(opened())) for _ in range(2)]
        for _ in range(3):
            await asyncio.sleep(0)
        tasks.append(asyncio.ensure_future(writer.append_durable(opened())))
        await asyncio.sleep(0)
        syncs.gate.set()
        writer.close()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert len(all_records(tmp_path)) == 3


def test_close_with_a_failing_disk_tells_who_waits(tmp_path, opened, syncs):
    writer = LogWriter(tmp_path, "w", durability="power")

    async def main():
        syncs.gate.clear()
        first = asyncio.ensure_future(writer.append_durable(opened()))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(writer.append_durable(opened()))
        await asyncio.sleep(0)
        syncs.error = OSError(5, "Input/output error")
        syncs.gate.set()
        writer.close()
        results = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(result) for result in results] == [LedgerUnavailable] * 2

    asyncio.run(main())
    writer.close()


def test_sync_file_uses_what_the_platform_has(tmp_path, monkeypatch):
    calls = []
    path = tmp_path / "f"
    path.write_bytes(b"x")
    fd = os.open(path, os.O_RDWR)
    sync.sync_file(fd)
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(("fsync", fd)))
    monkeypatch.setattr(fcntl, "fcntl", lambda fd, op: calls.append((op, fd)))
    monkeypatch.delattr(os, "fdatasync", raising=False)
    sync.sync_file(fd)
    monkeypatch.setattr(sync, "_FULL_SYNC", 51)
    sync.sync_file(fd)
    assert calls == [("fsync", fd), (51, fd)]
    os.close(fd)
