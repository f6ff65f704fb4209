"""Feedback by the provider's response id ends beside its call; spans go to the stores that take them."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.ledger import LogWriter, Recorder, erasure_result, request_erasure, unplaced
from trimtab.storage import Erasure
from trimtab.storage.sqlite import open_call_store
from trimtab.testing import FrozenClock
from trimtab.types import SpanEnded, new_id
from trimtab.types.errors import StorageError


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def recorder(folder, store, clock):
    with Recorder(folder, store, clock=clock) as recorder:
        yield recorder


@pytest.fixture
def write(folder, opened, closed, feedback):
    """Write with writers of their own: `write.call(...)`, `write.feedback(response_id)`."""

    class Write:
        def __init__(self):
            self.writers = [LogWriter(folder, f"worker-{n}") for n in (1, 2)]

        def call(self, response_id, call_id="", *, close=True, writer=0):
            record = opened(call_id)
            self.writers[writer].append(record)
            if close:
                self.close(record.id, response_id, writer)
            return record.id

        def close(self, call_id, response_id, writer=0):
            self.writers[writer].append(closed(call_id, provider_response_id=response_id))

        def feedback(self, response_id, writer=1):
            given = msgspec.structs.replace(feedback(""), response_id=response_id)
            self.writers[writer].append(given)
            return given

        def end(self):
            for writer in self.writers:
                writer.close()

    made = Write()
    yield made
    made.end()


def test_the_call_is_stored_already(recorder, store, write):
    call = write.call("resp-1")
    recorder.drain()
    given = write.feedback("resp-1")
    recorder.drain()
    assert [(f.id, f.call_id) for f in store.feedback.values()] == [(given.id, call)]


def test_the_call_is_still_open_and_its_segment_is_kept_until_then(folder, recorder, store, write):
    call = write.call("resp-1", close=False)
    given = write.feedback("resp-1")
    write.writers[1].close()
    recorder.drain()
    assert store.feedback == {}
    assert len(list(folder.glob("worker-2-*.log"))) == 1
    write.close(call, "resp-1")
    recorder.drain()
    assert store.feedback[given.id].call_id == call
    recorder.drain()
    assert list(folder.glob("worker-2-*.log")) == []


def test_nobody_answers_to_it_and_it_is_given_up_after_a_minute(folder, recorder, store, clock, write):
    write.feedback("resp-none")
    write.end()
    recorder.drain()
    clock.advance(unplaced.WAIT_S - 1)
    assert recorder.drain().unplaced == 0
    assert len(list(folder.glob("*.log"))) == 1
    clock.advance(2)
    assert recorder.drain().unplaced == 1
    assert store.feedback == {}
    recorder.drain()
    assert [path for path in folder.iterdir() if path.suffix in (".log", ".damaged")] == []


def test_a_recorder_that_is_started_again_goes_on_waiting(folder, store, clock, write):
    given = write.feedback("resp-1")
    write.writers[1].close()
    with Recorder(folder, store, clock=clock) as first:
        first.drain()
    with Recorder(folder, store, clock=clock) as second:
        second.drain()
        call = write.call("resp-1")
        second.drain()
    assert store.feedback[given.id].call_id == call


def test_an_error_of_the_store_loses_nothing(recorder, store, write):
    call = write.call("resp-1")
    given = write.feedback("resp-1")
    store.failure = StorageError("the disk is full")
    assert recorder.step().error
    assert recorder.step().error
    store.failure = None
    recorder.drain()
    assert store.feedback[given.id].call_id == call


def test_nonsense_cannot_fill_the_memory(recorder, store, write, monkeypatch):
    monkeypatch.setattr(unplaced, "MOST", 5)
    for n in range(20):
        write.feedback(f"nobody-{n}")
    assert recorder.drain().unplaced == 15
    call = write.call("nobody-19")
    recorder.drain()
    assert [f.call_id for f in store.feedback.values()] == [call]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 1)), min_size=1, max_size=8), st.data()
)
def test_it_ends_beside_its_call_whatever_comes_first(tmp_path_factory, plan, data):
    """With the real store: calls and feedback in any order, recorder steps in between."""
    from .conftest import make_closed, make_feedback, make_opened

    folder = tmp_path_factory.mktemp("beside")
    store = open_call_store(folder / "store")
    writers = [LogWriter(folder / "log", f"w-{n}") for n in (0, 1)]
    events = []
    for n, (early, twice, writer) in enumerate(plan):
        record = make_opened(new_id())
        ending = make_closed(record.id, provider_response_id=f"resp-{n}")
        told = [msgspec.structs.replace(make_feedback(""), response_id=f"resp-{n}") for _ in range(1 + twice)]
        calls = [(writer, record), (writer, ending)]
        others = [(1 - writer, one) for one in told]
        events.append([calls[0], *others, calls[1]] if early else [*calls, *others])
    with Recorder(folder / "log", store) as recorder:
        while any(events):
            at = data.draw(st.sampled_from([i for i, left in enumerate(events) if left]))
            writer, record = events[at].pop(0)
            writers[writer].append(record)
            if data.draw(st.booleans()):
                recorder.step()
        for writer in writers:
            writer.close()
        last = recorder.drain()
        recorder.drain()
    assert last.unplaced == 0
    assert list((folder / "log").glob("*.log")) == []
    from trimtab.storage import CallQuery

    calls = store.find(CallQuery())
    expected = {f"resp-{n}": 1 + twice for n, (_, twice, _) in enumerate(plan)}
    assert {c.closed.provider_response_id: len(c.feedback) for c in calls} == expected
    store.close()


def span():
    return SpanEnded("a" * 32, "b" * 16, "", "answer", "default", 1, 2, "", b"{}")


def test_spans_go_to_a_store_that_takes_them(folder, store, write):
    taken = []

    def insert_spans(spans):
        taken.extend(spans)
        return len(spans)

    store.insert_spans = insert_spans
    store.trace = store.traces = store.spans = store.traces_of = store.erase_traces = insert_spans
    write.writers[0].append(span())
    with Recorder(folder, store) as recorder:
        progress = recorder.step()
    assert taken == [span()]
    assert (progress.spans, progress.spans_left_out) == (1, 0)


def test_a_store_without_a_place_for_spans_gets_none_and_that_is_counted(folder, recorder, store, write):
    write.writers[0].append(span())
    write.end()
    progress = recorder.drain()
    assert (progress.error, progress.spans_left_out) == ("", 1)
    assert list(folder.glob("*.log")) == []


def test_feedback_on_an_erased_call_is_left_out_and_blanked(
    folder, tmp_path, clock, opened, closed, feedback
):
    """It came a moment after the erasure: it must not outlive those whom it is about."""
    store = open_call_store(tmp_path / "calls")
    writer = LogWriter(folder, "w")
    record = opened(new_id(), user="quagga")
    writer.append(record)
    writer.append(closed(record.id))
    with Recorder(folder, store, clock=clock) as recorder:
        recorder.step()
        request_id = request_erasure(folder, Erasure(user="quagga"))
        recorder.step()
        assert erasure_result(folder, request_id).calls == 1
        writer.append(msgspec.structs.replace(feedback(record.id), comment="said of the quagga"))
        recorder.step()
        clock.advance(unplaced.WAIT_S + 1)
        assert recorder.step().unplaced == 1
        assert b"quagga" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
        writer.close()
        recorder.drain()
    assert list(folder.glob("*.log")) == []
    store.close()


def test_feedback_waits_for_as_long_as_its_call_is_open(folder, tmp_path, clock, opened, closed, feedback):
    store = open_call_store(tmp_path / "calls")
    writer = LogWriter(folder, "w")
    record = opened(new_id())
    writer.append(record)
    writer.append(feedback(record.id))
    with Recorder(folder, store, clock=clock) as recorder:
        for _ in range(5):
            clock.advance(unplaced.WAIT_S + 1)
            assert recorder.step().unplaced == 0
        writer.append(closed(record.id))
        recorder.step()
    assert len(store.get(record.id).feedback) == 1
    store.close()
    writer.close()
