"""The recorder under any order of events: calls, rolls, deaths, restarts, a store that fails, half-way through."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trimtab.ledger import Limits, LogWriter, Recorder
from trimtab.testing import FrozenClock
from trimtab.types import Closed, FeedbackGiven, Opened, StorageError, Usage, new_id

OPENED = (
    dict.fromkeys(Opened.__struct_fields__, "")
    | {"purpose": "live", "kind": "chat", "payload": "full", "opened_us": 5, "stream": False, "tags": ()}
    | {"request": b"", "variables": b"", "prompt_version": 0, "reserved_nusd": 0}
)


class Store:
    """A store that keeps its promises, and fails when it is told to: before, or in the middle of a batch."""

    def __init__(self):
        self.calls = {}
        self.feedback = {}
        self.fail_after = None

    def insert(self, calls):
        new = 0
        for call in calls:
            if self.fail_after is not None:
                if self.fail_after == 0:
                    raise StorageError("the disk is full")
                self.fail_after -= 1
            there = self.calls.get(call.id)
            if there is None:
                self.calls[call.id] = call
                new += 1
            elif there.closed is None and call.closed is not None:
                self.calls[call.id] = call
        return new

    def insert_feedback(self, rows):
        before = len(self.feedback)
        self.feedback |= {row.id: row for row in rows}
        return len(self.feedback) - before

    def get(self, call_id):
        return self.calls.get(call_id)

    def index_pending(self, limit):
        return 0

    def flush(self):
        if self.fail_after is not None:
            raise StorageError("the disk is full")


class Ledger(RuleBasedStateMachine):
    """Writers and one recorder on a real folder; what must hold is known from what was appended."""

    def __init__(self):
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.folder = Path(self.home.name)
        self.store = Store()
        self.clock = FrozenClock()
        self.writers = []
        self.open = {}
        self.opened = {}
        self.closed = {}
        self.dead = set()
        self.given = set()
        self.recorder = self.new_recorder()
        self.start_writer()

    def new_recorder(self):
        limits = Limits(batch_calls=3, ready_bytes=1_000, open_bytes=700)
        return Recorder(self.folder, self.store, clock=self.clock, limits=limits)

    @rule()
    def start_writer(self):
        if len(self.writers) < 3:
            writer = LogWriter(self.folder, "w", segment_bytes=1_200, clock=self.clock)
            self.writers.append(writer)
            self.open[id(writer)] = []

    @rule(data=st.data(), size=st.integers(0, 900))
    def open_call(self, data, size):
        if self.writers:
            writer = data.draw(st.sampled_from(self.writers))
            record = Opened(**{**OPENED, "id": new_id(), "request": b"x" * size})
            writer.append(record)
            self.opened[record.id] = record
            self.open[id(writer)].append(record.id)

    @rule(data=st.data())
    def close_call(self, data):
        busy = [writer for writer in self.writers if self.open[id(writer)]]
        if busy:
            writer = data.draw(st.sampled_from(busy))
            call_id = data.draw(st.sampled_from(self.open[id(writer)]))
            self.open[id(writer)].remove(call_id)
            names = ("m", "m", "p", "", "", "", "stop")
            record = Closed(call_id, 9, 1, "ok", 200, "", "", *names, (), Usage(), 1, "", False, False, b"")
            writer.append(record)
            self.closed[call_id] = record

    @rule(data=st.data())
    def give_feedback(self, data):
        if self.writers and self.opened:
            call_id = data.draw(st.sampled_from(sorted(self.opened)))
            record = FeedbackGiven(new_id(), call_id, 1, "p", "thumbs", 1.0, "", "", "", "", "")
            data.draw(st.sampled_from(self.writers)).append(record)
            self.given.add(record.id)

    @rule(data=st.data())
    def kill_writer(self, data):
        if self.writers:
            writer = data.draw(st.sampled_from(self.writers))
            self.writers.remove(writer)
            self.dead.update(self.open.pop(id(writer)))
            writer.close()

    @rule()
    def step(self):
        self.recorder.step()

    @rule()
    def kill_recorder(self):
        self.recorder.close()
        self.recorder = self.new_recorder()

    @rule(after=st.integers(0, 4))
    def break_store(self, after):
        self.store.fail_after = after

    @rule()
    def mend_store(self):
        self.store.fail_after = None

    @rule(seconds=st.integers(-100, 100))
    def set_the_clock(self, seconds):
        self.clock.set_now_us(self.clock.now_us() + seconds * 1_000_000)

    @invariant()
    def nothing_is_made_up(self):
        for call_id, call in self.store.calls.items():
            assert call.opened == self.opened[call_id]
            assert call.closed == (self.closed.get(call_id) if call.closed is not None else None)
            if call.closed is None:
                assert call_id in self.dead, "given up while its writer lived"

    def teardown(self):
        self.store.fail_after = None
        self.recorder.drain(limit_s=60)
        assert set(self.store.calls) == set(self.closed) | self.dead
        for writer in self.writers:
            self.dead.update(self.open[id(writer)])
            writer.close()
        progress = self.recorder.drain(limit_s=60)
        assert set(self.store.calls) == set(self.opened)
        for call_id, call in self.store.calls.items():
            assert call.closed == self.closed.get(call_id)
            assert call.state == ("unfinished" if call_id in self.dead else "ok")
        assert set(self.store.feedback) == self.given
        assert [path.name for path in self.folder.iterdir()] == ["recorder.lock"]
        assert (progress.damaged_bytes, progress.torn_bytes, progress.open_calls, progress.error) == (
            0,
            0,
            0,
            "",
        )
        self.recorder.close()
        self.home.cleanup()


Ledger.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLedger = Ledger.TestCase
