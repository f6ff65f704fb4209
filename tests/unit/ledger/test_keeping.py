"""Retention and disk budget: what is due goes, and nothing else, whatever else fails."""

import resource

import msgspec
import pytest

from trimtab.ledger import LogWriter, Recorder
from trimtab.storage import CallQuery
from trimtab.storage.sqlite import open_call_store
from trimtab.testing import FrozenClock
from trimtab.testing.calls import NOON_MS, sample_call
from trimtab.types import Policy, new_id

DAY_MS = 86_400_000
DAY_S = 86_400


class Told:
    """A policy that a test changes."""

    def __init__(self, **fields):
        self.policy = Policy(**fields)

    def change(self, **fields):
        self.policy = msgspec.structs.replace(self.policy, **fields)

    def __call__(self):
        return self.policy


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def clock():
    return FrozenClock(NOON_MS * 1000)


@pytest.fixture
def calls(tmp_path):
    """A store of ten days, today the last of them, each with a call of each of two projects."""
    store = open_call_store(tmp_path / "calls")
    store.insert(
        [
            sample_call(ms=NOON_MS - i * DAY_MS, project=name)
            for i in range(10)
            for name in ("default", "acme")
        ]
    )
    yield store
    store.close()


def ages(store, project=""):
    """How many days ago the calls were, the newest first."""
    return [
        (NOON_MS - call.opened.opened_us // 1000) // DAY_MS for call in store.find(CallQuery(project=project))
    ]


def test_calls_are_kept_for_good_where_nobody_says_otherwise(folder, calls, clock):
    for policy in (None, Told()):
        with Recorder(folder, calls, clock=clock, policy=policy) as recorder:
            recorder.step()
    assert calls.count() == 20


def test_days_that_are_too_old_go_and_a_running_recorder_obeys_changes(folder, calls, clock):
    told = Told(retention_days=7)
    with Recorder(folder, calls, clock=clock, policy=told) as recorder:
        assert recorder.step().dropped_files == 2
        assert sorted(set(ages(calls))) == list(range(8))
        assert recorder.step().dropped_files == 0
        told.change(retention_days=1)
        recorder.step()
        assert sorted(set(ages(calls))) == [0, 1]
        told.change(retention_days=0)
        clock.advance(20 * DAY_S)
        recorder.step()
        assert sorted(set(ages(calls))) == [0, 1]
        told.change(retention_days=19)
        recorder.step()
        assert calls.count() == 0


def test_a_day_that_passes_takes_the_oldest_with_it(folder, calls, clock):
    with Recorder(folder, calls, clock=clock, policy=Told(retention_days=9)) as recorder:
        assert recorder.step().dropped_files == 0
        clock.advance(DAY_S / 2)
        assert recorder.step().dropped_files == 1


def test_a_project_may_keep_its_calls_for_a_shorter_time(folder, calls, clock):
    told = Told(project_retention={"acme": 2, "nobody": 1, "other": 0})
    with Recorder(folder, calls, clock=clock, policy=told) as recorder:
        progress = recorder.step()
        assert (progress.expired, progress.dropped_files) == (7, 0)
        assert ages(calls, "acme") == [0, 1, 2]
        assert len(ages(calls, "default")) == 10
        assert recorder.step().expired == 0
        told.change(project_retention={"acme": 10**9, "default": 900_000})
        progress = recorder.step()
        assert (progress.expired, progress.error) == (0, "")
    assert calls.rollup("minute_project") == calls.recount("minute_project")


def test_the_oldest_days_give_way_to_the_budget_never_today(folder, calls, clock):
    sizes = [size for _, size in sorted(calls.disk_bytes().items())]
    told = Told(disk_gb=sum(sizes[4:]) / 1e9)
    with Recorder(folder, calls, clock=clock, policy=told) as recorder:
        assert recorder.step().dropped_files == 4
        assert sorted(set(ages(calls))) == list(range(6))
        told.change(disk_gb=1e-9)
        clock.advance(60)
        recorder.step()
        assert ages(calls) == [0, 0]
        clock.advance(60)
        assert recorder.step().dropped_files == 0


def test_an_empty_store_fits(folder, tmp_path, clock):
    store = open_call_store(tmp_path / "empty")
    with Recorder(folder, store, clock=clock, policy=Told(disk_gb=1e-9, retention_days=1)) as recorder:
        assert recorder.step().error == ""
    store.close()


def test_days_go_while_nothing_can_be_written(folder, calls, clock):
    """A full disk, as far as a process can be made to see one: no file may grow."""
    writer = LogWriter(folder, "worker-1")
    call = sample_call(id=new_id(NOON_MS), request=b"x" * 100_000)
    writer.append(call.opened)
    writer.append(call.closed)
    told = Told()
    with Recorder(folder, calls, clock=clock, policy=told) as recorder:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            assert recorder.step().error
            told.change(retention_days=7, disk_gb=1e-9, project_retention={"acme": 1})
            progress = recorder.step()
            assert progress.error
            assert progress.dropped_files == 9
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert recorder.drain().error == ""
    assert calls.get(call.id) == call
    assert sorted(set(ages(calls))) == [0]
    writer.close()


def test_the_recorder_process_obeys_what_is_published(tmp_path):
    from trimtab.serve.child.recorder import Published
    from trimtab.storage.files import open_snapshot_store
    from trimtab.types import Snapshot

    snapshots = open_snapshot_store(tmp_path)
    published = Published(snapshots)
    assert published() == Policy()
    snapshots.publish(Snapshot(generation=1, policy=Policy(retention_days=3, project_retention={"a": 1})))
    assert published() == Policy(retention_days=3, project_retention={"a": 1})
    (tmp_path / "snapshot.json").write_bytes(b"{")
    assert published().retention_days == 3
