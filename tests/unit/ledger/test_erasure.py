"""Erasing from the log: no byte of whom it names is left, and everybody else's calls are as they were."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from trimtab.ledger import LogWriter, Recorder, erasure, erasure_result, request_erasure
from trimtab.ledger.erasure import Eraser
from trimtab.storage import CallQuery, Erasure
from trimtab.storage.sqlite import open_call_store
from trimtab.types import FeedbackGiven, SpanEnded, new_id

MARKER = b"quagga"
WHO = Erasure(user="quagga-user")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def calls(tmp_path):
    store = open_call_store(tmp_path / "calls")
    yield store
    store.close()


@pytest.fixture
def writer(folder):
    writer = LogWriter(folder, "worker-1")
    yield writer
    writer.close()


@pytest.fixture
def marked(opened):
    return lambda **more: opened(
        **{"user": "quagga-user", "session": "quagga-1", "request": b'{"prompt":"a quagga"}'} | more
    )


def where(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and MARKER in path.read_bytes()]


def write(writer, closed, record, **more):
    writer.append(record)
    writer.append(closed(record.id, **more))
    return record.id


def run_request(recorder, folder, what=WHO, **more):
    request_id = request_erasure(folder, what, **more)
    assert erasure_result(folder, request_id) is None
    progress = recorder.step()
    assert not progress.error
    assert progress.erasures == 1
    result = erasure_result(folder, request_id)
    assert result is not None
    assert erasure_result(folder, request_id) is None
    assert [path for path in (folder / "erase").iterdir()] == []
    return result


def test_stored_calls_go_from_store_and_living_segment(
    tmp_path, folder, calls, writer, opened, closed, marked
):
    with Recorder(folder, calls) as recorder:
        gone = [write(writer, closed, marked(), response=b'{"text":"the quagga"}') for _ in range(5)]
        kept = [write(writer, closed, opened()) for _ in range(5)]
        recorder.step()
        assert len(where(tmp_path)) >= 2
        result = run_request(recorder, folder)
        assert (result.calls, result.log_records, result.unreadable) == (5, 10, ())
        assert where(tmp_path) == []
        later = write(writer, closed, marked())
        recorder.step()
    # A recorder that starts afresh reads the segment from its start: nothing comes back, nothing is damaged.
    with Recorder(folder, calls) as recorder:
        progress = recorder.drain()
        assert (progress.damaged_bytes, progress.open_calls, progress.error) == (0, 0, "")
    assert {call.id for call in calls.find(CallQuery())} == {*kept, later}
    assert all(calls.get(call_id) is None for call_id in gone)
    assert calls.rollup("hour_model") == calls.recount("hour_model")


@pytest.mark.parametrize("restarts", [False, True])
def test_a_call_erased_while_it_was_open_is_not_stored(
    folder, calls, writer, opened, closed, marked, restarts
):
    tmp_path = folder.parent
    recorder = Recorder(folder, calls)
    first = marked()
    writer.append(first)
    recorder.step()
    unread = marked()
    writer.append(unread)
    other = opened()
    writer.append(other)
    result = run_request(recorder, folder)
    assert (result.calls, result.log_records) == (0, 2)
    if restarts:
        recorder.close()
        recorder = Recorder(folder, calls)
    for record in (first, unread, other):
        writer.append(closed(record.id, response=b'{"text":"the quagga"}' if record is not other else b"{}"))
    recorder.step()
    assert where(tmp_path) == []
    assert [call.id for call in calls.find(CallQuery())] == [other.id]
    assert not any("trimtab:opening-lost" in call.opened.tags for call in calls.find(CallQuery()))
    writer.close()
    progress = recorder.drain()
    assert (progress.open_calls, progress.damaged_bytes, progress.set_aside) == (0, 0, 0)
    assert not list(folder.glob("*.log"))
    recorder.close()


def test_an_erased_open_call_whose_process_dies_is_not_stored(folder, calls, writer, marked):
    with Recorder(folder, calls) as recorder:
        writer.append(marked())
        recorder.step()
        run_request(recorder, folder)
        writer.close()
        progress = recorder.drain()
        assert (progress.open_calls, calls.count()) == (0, 0)
        assert not list(folder.glob("*.log"))


def test_an_end_in_a_later_segment_is_found_by_the_store(tmp_path, folder, calls, opened, closed, marked):
    writer = LogWriter(folder, "worker-1", segment_bytes=400)
    with Recorder(folder, calls) as recorder:
        first = marked()
        writer.append(first)
        for _ in range(3):
            write(writer, closed, opened())
        writer.append(closed(first.id, response=b"the quagga"))
        recorder.step()
        recorder.step()
        assert len(list(folder.glob("*.log"))) == 1
        result = run_request(recorder, folder)
        assert (result.calls, result.log_records) == (1, 1)
        assert where(tmp_path) == []
    writer.close()


def test_feedback_goes_too(tmp_path, folder, calls, writer, opened, closed, marked):
    def given(call_id, user, comment):
        return FeedbackGiven(
            new_id(), call_id, 1_790_000_001_000_000, "default", "n", 1.0, "", comment, "", user, ""
        )

    with Recorder(folder, calls) as recorder:
        gone, kept = write(writer, closed, marked()), write(writer, closed, opened())
        writer.append(given(gone, "x", "on a quagga"))
        writer.append(given(kept, "quagga-user", "of a quagga"))
        writer.append(given(kept, "u", "stays"))
        recorder.step()
        result = run_request(recorder, folder)
        assert (result.calls, result.log_records) == (1, 4)
        assert where(folder.parent) == []
    found = calls.get(kept)
    assert [one.comment for one in found.feedback] == ["stays"]


def test_session_and_project_must_both_match(folder, calls, writer, closed, marked):
    with Recorder(folder, calls) as recorder:
        ids = [
            write(writer, closed, marked(project=project, session=session))
            for project in ("default", "acme")
            for session in ("s1", "s2")
        ]
        recorder.step()
        result = run_request(recorder, folder, Erasure(project="acme", session="s2"))
        assert (result.calls, result.log_records) == (1, 2)
        assert calls.get(ids[3]) is None
        result = run_request(recorder, folder, Erasure(project="acme"), whole_project=True)
        assert (result.calls, result.log_records) == (1, 2)
        assert calls.count() == 2


class Killed(BaseException):
    """Stands for a kill -9: nothing catches it."""


@pytest.mark.parametrize("after", range(6))
def test_a_crash_anywhere_is_mended_by_the_next_recorder(
    folder, writer, opened, closed, marked, monkeypatch, after
):
    """Dies within the n-th overwriting of a frame, half of it written, or between log and store."""
    real = os.pwrite
    seen = 0

    def torn(fd, data, at):
        nonlocal seen
        seen += 1
        if seen == after + 1:
            real(fd, data[: len(data) // 2], at)
            raise Killed
        return real(fd, data, at)

    tmp_path = folder.parent
    store = open_call_store(tmp_path / "calls")
    recorder = Recorder(folder, store)
    kept = [write(writer, closed, opened()) for _ in range(2)]
    for _ in range(2):
        write(writer, closed, marked(), response=b'{"text":"the quagga"}')
    recorder.step()
    last = marked()
    writer.append(last)
    request_id = request_erasure(folder, WHO)
    with monkeypatch.context() as patch:
        patch.setattr(erasure.os, "pwrite", torn)
        if after == 5:
            patch.setattr(store, "erase", lambda _what: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            recorder.step()
    recorder.close()
    store.close()
    store = open_call_store(tmp_path / "calls")
    with Recorder(folder, store) as recorder:
        progress = recorder.step()
        assert (progress.damaged_bytes, progress.error) == (0, "")
        writer.append(closed(last.id, response=b"the quagga"))
        recorder.step()
        assert erasure_result(folder, request_id).calls == 2
        assert where(tmp_path) == []
        assert {call.id for call in store.find(CallQuery())} == set(kept)
    store.close()


def test_a_store_that_fails_is_asked_again(tmp_path, folder, calls, writer, closed, marked, monkeypatch):
    from trimtab.types import StorageError

    def busy(_what):
        raise StorageError("busy")

    with Recorder(folder, calls) as recorder:
        write(writer, closed, marked())
        request_id = request_erasure(folder, WHO)
        with monkeypatch.context() as patch:
            patch.setattr(calls, "erase", busy)
            assert recorder.step().error == "busy"
        assert erasure_result(folder, request_id) is None
        assert not recorder.step().error
        assert erasure_result(folder, request_id).calls == 1
        assert where(tmp_path) == []


def test_segments_set_aside_are_blanked_as_far_as_they_can_be_read(tmp_path, folder, calls, closed, marked):
    writer = LogWriter(folder, "worker-1")
    with Recorder(folder, calls) as recorder:
        write(writer, closed, marked())
        segment = next(folder.glob("*.log"))
        size = segment.stat().st_size
        with segment.open("r+b") as file:
            file.seek(size)
            file.write(b"\xf7TT\x0a" + bytes(40))
        writer.close()
        recorder.drain()
        damaged = next(folder.glob("*.damaged"))
        assert where(folder) == [str(damaged)]
        result = run_request(recorder, folder)
        assert (result.calls, result.log_records, result.unreadable) == (1, 2, (damaged.name,))
        assert where(tmp_path) == []


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"what":{}}', b'{"what":{"user":"u"},"whole_project":true}']
)
def test_a_request_that_cannot_be_read_is_answered(folder, calls, content):
    with Recorder(folder, calls) as recorder:
        (folder / "erase").mkdir()
        (folder / "erase" / "x.json").write_bytes(content)
        recorder.step()
        assert "cannot be read" in erasure_result(folder, "x").error


@pytest.mark.parametrize(
    ("what", "whole"),
    [(Erasure(), False), (Erasure(project="p"), False), (Erasure(), True), (Erasure(user="u"), True)],
)
def test_a_request_must_name_somebody(folder, what, whole):
    with pytest.raises(ValueError, match="must name a user or a session"):
        request_erasure(folder, what, whole_project=whole)
    assert not folder.exists()


def test_requests_are_private(folder):
    request_erasure(folder, WHO)
    assert {path.stat().st_mode & 0o77 for path in (folder / "erase").rglob("*")} == {0}


def test_blank_frames_are_those_of_any_record(folder, calls, opened, closed):
    """Whatever its size, a record's frame can be blanked: the shortest there are, and long ones."""
    writer = LogWriter(folder, "worker-1")
    short = msgspec.structs.replace(
        opened(),
        **{name: "" for name in ("model", "model_asked", "session", "release", "client", "params_hash")},
    )
    records = [
        msgspec.structs.replace(short, user="quagga-user", request=b"x" * size)
        for size in (0, 255, 256, 70_000)
    ]
    for record in records:
        writer.append(msgspec.structs.replace(record, id=new_id()))
    with Recorder(folder, calls) as recorder:
        recorder.step()
        assert run_request(recorder, folder).log_records == 4
    with Recorder(folder, calls) as recorder:
        progress = recorder.step()
        assert (progress.damaged_bytes, progress.open_calls) == (0, 4)
    writer.close()
    assert Eraser(folder, calls).requests() == []


TRACE = "0af7651916cd43dd8448eb211c80319c"


AT_US = time.time_ns() // 1000


def span(trace_id=TRACE, **changes):
    return msgspec.structs.replace(
        SpanEnded(trace_id, "b" * 16, "", "quagga", "default", AT_US, AT_US, "", b'{"q":"a quagga"}'),
        **changes,
    )


def test_feedback_by_response_id_and_spans_go_with_their_calls(
    folder, calls, writer, opened, closed, feedback, marked
):
    by_response = lambda response_id, comment: msgspec.structs.replace(  # noqa: E731
        feedback(""), response_id=response_id, comment=comment
    )
    with Recorder(folder, calls) as recorder:
        gone = marked(trace_parent=f"00-{TRACE}-b7ad6b7169203331-01")
        write(writer, closed, gone, provider_response_id="resp-gone")
        kept = write(writer, closed, opened(), provider_response_id="resp-kept")
        for record in (
            by_response("resp-gone", "about the quagga"),
            by_response("resp-kept", "about another"),
            by_response("resp-never", "about nothing"),
            span(),
            span("f" * 32, name="other", attributes=b"{}"),
        ):
            writer.append(record)
        recorder.step()
        result = run_request(recorder, folder)
        assert (result.calls, result.log_records) == (1, 4)
        assert where(folder.parent) == []
    with Recorder(folder, calls) as recorder:
        assert recorder.drain().error == ""
    [call] = calls.find(CallQuery())
    assert call.id == kept
    assert [given.comment for given in call.feedback] == ["about another"]


def test_waiting_feedback_of_whom_is_erased_is_forgotten(folder, calls, writer, opened, closed, feedback):
    other = opened()
    given = msgspec.structs.replace(feedback(""), response_id="resp-1", user="quagga-user")
    with Recorder(folder, calls) as recorder:
        writer.append(other)
        writer.append(given)
        recorder.step()
        assert run_request(recorder, folder).log_records == 1
        writer.append(closed(other.id, provider_response_id="resp-1"))
        recorder.step()
    assert [call.feedback for call in calls.find(CallQuery())] == [()]


def test_erasing_whom_judged_an_open_call_of_another_leaves_that_call(
    folder, calls, writer, opened, closed, feedback
):
    other = opened()
    with Recorder(folder, calls) as recorder:
        writer.append(other)
        writer.append(msgspec.structs.replace(feedback(other.id), user="quagga-user"))
        recorder.step()
        run_request(recorder, folder)
        writer.append(closed(other.id))
        recorder.step()
    assert [call.id for call in calls.find(CallQuery())] == [other.id]


def test_a_whole_projects_spans_go_too(tmp_path, folder, calls, writer):
    writer.append(span(project="demo"))
    with Recorder(folder, calls) as recorder:
        recorder.step()
        assert run_request(recorder, folder, Erasure(project="demo"), whole_project=True).log_records == 1
    assert where(tmp_path) == []


@pytest.mark.parametrize("restarts", [False, True])
def test_spans_of_a_call_whose_opening_left_the_log_go_from_store_and_log(
    folder, calls, writer, closed, marked, restarts
):
    tmp_path = folder.parent
    first = LogWriter(folder, "worker-2")
    write(first, closed, marked(trace_parent=f"00-{TRACE}-b7ad6b7169203331-01"))
    first.close()
    recorder = Recorder(folder, calls)
    recorder.drain()
    writer.append(span())
    writer.append(span("f" * 32, name="other", attributes=b"{}"))
    recorder.step()
    assert len(where(tmp_path)) >= 2
    if restarts:
        recorder.close()
        recorder = Recorder(folder, calls)
    unread = span(span_id="c" * 16)
    writer.append(unread)
    result = run_request(recorder, folder)
    assert (result.calls, result.log_records) == (1, 2)
    assert where(tmp_path) == []
    # What is told of that trace from now on is not kept: the store has nothing of it, the log loses it in time.
    writer.append(span(span_id="d" * 16))
    writer.close()
    assert recorder.drain().spans == 0
    recorder.drain()
    assert list(folder.glob("*.log")) == []
    assert where(tmp_path) == []
    assert [one.name for one in calls.spans()] == ["other"]
    recorder.close()
