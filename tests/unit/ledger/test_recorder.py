"""The recorder: nothing lost, nothing doubled, nothing removed too early."""

import os
import stat
import zlib

import pytest

from trimtab.ledger import Limits, LogWriter, Recorder, reader
from trimtab.ledger.frames import HEADER_BYTES, FrameEncoder, Header, encode_header
from trimtab.ledger.join import OPENING_LOST
from trimtab.ledger.segment import segment_uuid
from trimtab.storage.sqlite import open_call_store
from trimtab.testing import FrozenClock
from trimtab.types import new_id
from trimtab.types.errors import FolderBusy, StorageError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def recorder(folder, store, clock):
    with Recorder(folder, store, clock=clock) as recorder:
        yield recorder


@pytest.fixture
def writer(folder):
    writer = LogWriter(folder, "worker-1")
    yield writer
    writer.close()


def logs(folder):
    return sorted(folder.glob("*.log"))


def write_calls(writer, opened, closed, number):
    ids = []
    for _ in range(number):
        record = opened()
        writer.append(record)
        writer.append(closed(record.id))
        ids.append(record.id)
    return ids


def test_a_call_is_stored_whole_when_it_closes(folder, recorder, writer, store, opened, closed):
    first = opened(request=b"question")
    writer.append(first)
    progress = recorder.step()
    assert (progress.records, progress.stored, progress.open_calls) == (1, 0, 1)
    assert store.calls == {}
    ending = closed(first.id, state="cancelled")
    writer.append(ending)
    progress = recorder.step()
    assert (progress.records, progress.stored, progress.open_calls, progress.error) == (1, 1, 0, "")
    (call,) = store.calls.values()
    assert (call.opened, call.closed, call.state) == (first, ending, "cancelled")


def test_feedback_is_stored(recorder, writer, store, opened, closed, feedback):
    [call_id] = write_calls(writer, opened, closed, 1)
    given = feedback(call_id)
    writer.append(given)
    assert recorder.step().feedback == 1
    assert store.feedback == {given.id: given}


def test_an_idle_step_does_nothing_and_says_so(recorder, writer, store, opened, closed):
    write_calls(writer, opened, closed, 3)
    while not (progress := recorder.step()).idle:
        pass
    assert not progress.error
    batches = list(store.batches)
    assert recorder.step().idle
    assert store.batches == batches


def test_a_segment_of_a_living_writer_stays(folder, recorder, writer, store, opened, closed):
    write_calls(writer, opened, closed, 3)
    recorder.drain()
    assert len(store.calls) == 3
    assert len(logs(folder)) == 1
    assert store.flushes == 0


def test_a_segment_goes_when_its_writer_is_gone_and_the_store_is_flushed(
    folder, recorder, writer, store, opened, closed
):
    write_calls(writer, opened, closed, 3)
    writer.close()
    progress = recorder.drain()
    assert len(store.calls) == 3
    assert logs(folder) == []
    assert store.flushes == 1
    assert progress.idle


def test_nothing_is_removed_when_the_flush_fails(folder, recorder, writer, store, opened, closed):
    write_calls(writer, opened, closed, 3)
    writer.close()
    real = store.flush

    def refuse():
        raise StorageError("disk full")

    store.flush = refuse
    progress = recorder.drain()
    assert progress.error == "disk full"
    assert len(logs(folder)) == 1
    store.flush = real
    recorder.drain()
    assert logs(folder) == []


def test_rolled_segments_go_while_the_writer_lives_and_open_calls_keep_theirs(
    folder, recorder, store, opened, closed
):
    writer = LogWriter(folder, "w", segment_bytes=3_000)
    slow = opened()
    writer.append(slow)
    write_calls(writer, opened, closed, 40)
    recorder.drain()
    # The first holds the opening of a call that still runs, the last is written to.
    assert len(logs(folder)) == 2
    assert slow.id not in store.calls
    writer.append(closed(slow.id))
    recorder.drain()
    assert len(logs(folder)) == 1
    assert len(store.calls) == 41
    assert store.calls[slow.id].opened == slow
    writer.close()
    recorder.drain()
    assert logs(folder) == []


def test_an_open_call_of_a_dead_writer_is_stored_as_unfinished(
    folder, recorder, writer, store, opened, closed
):
    ids = write_calls(writer, opened, closed, 2)
    lost = opened()
    writer.append(lost)
    recorder.step()
    assert lost.id not in store.calls
    writer.close()
    unfinished = 0
    for _ in range(4):
        unfinished += recorder.step().unfinished
    assert unfinished == 1
    call = store.calls[lost.id]
    assert (call.opened, call.closed, call.state) == (lost, None, "unfinished")
    assert set(store.calls) == {*ids, lost.id}
    assert logs(folder) == []


def test_a_call_that_spans_segments_is_not_given_up_while_its_writer_lives(
    folder, recorder, store, opened, closed
):
    """Its first segment has no lock any more, but the writer goes on in another."""
    writer = LogWriter(folder, "w", segment_bytes=1)
    slow = opened()
    writer.append(slow)
    write_calls(writer, opened, closed, 3)
    recorder.drain()
    assert slow.id not in store.calls
    writer.append(closed(slow.id))
    writer.close()
    recorder.drain()
    assert store.calls[slow.id].state == "ok"
    assert logs(folder) == []


def test_a_later_writer_of_the_same_name_does_not_keep_dead_calls_open(folder, recorder, store, opened):
    first = LogWriter(folder, "worker-1")
    lost = opened()
    first.append(lost)
    first.close()
    second = LogWriter(folder, "worker-1")
    going = opened()
    second.append(going)
    recorder.drain()
    assert store.calls[lost.id].state == "unfinished"
    assert going.id not in store.calls
    second.close()


def test_a_roll_between_two_looks_does_not_look_like_death(
    folder, recorder, store, opened, closed, monkeypatch
):
    """Between trying the locks and listing the folder, the writer moves on to its next segment."""
    writer = LogWriter(folder, "w", segment_bytes=1)
    slow = opened()
    writer.append(slow)
    recorder.step()
    real = os.scandir

    def roll_then_list(path):
        writer.append(opened())
        return real(path)

    monkeypatch.setattr(reader.os, "scandir", roll_then_list)
    for _ in range(5):
        recorder.step()
    monkeypatch.undo()
    assert slow.id not in store.calls
    writer.append(closed(slow.id))
    writer.close()
    recorder.drain()
    assert store.calls[slow.id].state == "ok"


def test_a_recorder_that_starts_over_doubles_nothing(folder, store, writer, opened, closed, feedback):
    ids = write_calls(writer, opened, closed, 5)
    running = opened()
    writer.append(running)
    writer.append(feedback(ids[0]))
    for _ in range(3):
        with Recorder(folder, store) as recorder:
            recorder.drain()
    assert set(store.calls) == set(ids)
    assert len(store.feedback) == 1
    writer.append(closed(running.id))
    with Recorder(folder, store) as recorder:
        progress = recorder.step()
    assert progress.stored == 1
    assert progress.opening_lost == 0


def test_a_closing_whose_first_segment_is_gone_already_changes_nothing(folder, store, opened, closed):
    """After a restart: the opening's segment was removed, the closing's is still there."""
    writer = LogWriter(folder, "w", segment_bytes=1)
    first = opened()
    writer.append(first)
    writer.append(closed(first.id))
    with Recorder(folder, store) as recorder:
        recorder.drain()
    assert len(logs(folder)) == 1
    with Recorder(folder, store) as recorder:
        progress = recorder.step()
    assert (progress.stored, progress.opening_lost) == (0, 0)
    assert store.calls[first.id].opened == first
    writer.close()


# Damage


def damage(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


def test_a_lost_opening_still_gives_a_flagged_call_and_the_file_is_kept(
    folder, recorder, writer, store, opened, closed
):
    first, second = opened(), opened()
    ending = closed(first.id)
    for record in (first, ending, second, closed(second.id)):
        writer.append(record)
    writer.close()
    (path,) = logs(folder)
    damage(path, HEADER_BYTES + 30)
    lost = aside = 0
    for _ in range(4):
        progress = recorder.step()
        lost += progress.opening_lost
        aside += progress.set_aside
    assert (lost, aside) == (1, 1)
    assert progress.damaged_bytes == len(FrameEncoder(b"").encode(first))
    call = store.calls[first.id]
    assert call.closed == ending
    assert OPENING_LOST in call.opened.tags
    assert (call.state, call.opened.purpose, call.opened.project) == ("ok", "live", "default")
    assert abs(call.opened.opened_us - int(first.id.replace("-", "")[:12], 16) * 1000) == 0
    assert store.calls[second.id].opened == second
    assert logs(folder) == []
    assert [kept.suffix for kept in folder.iterdir() if kept.name != "recorder.lock"] == [".damaged"]


def test_a_closing_with_a_strange_id_is_stored_too(recorder, writer, store, closed):
    ending = closed("not-a-uuid")
    writer.append(ending)
    recorder.step()
    assert store.calls["not-a-uuid"].opened.opened_us == ending.closed_us


def test_a_closing_in_a_segment_that_lost_its_header_still_ends_its_call(
    folder, recorder, store, opened, closed
):
    """Whose segment that is cannot be known, so the call is given up too early; its closing mends that."""
    writer = LogWriter(folder, "w", segment_bytes=1)
    first = opened()
    writer.append(first)
    writer.append(opened())
    damage(logs(folder)[-1], 3)
    recorder.drain()
    assert store.calls[first.id].state == "unfinished"
    with logs(folder)[-1].open("ab") as file:
        file.write(FrameEncoder(segment_uuid(logs(folder)[-1].stem).bytes).encode(closed(first.id)))
    recorder.drain()
    assert (store.calls[first.id].state, store.calls[first.id].opened) == ("ok", first)
    writer.close()


def test_a_torn_tail_is_counted_and_its_segment_removed(folder, recorder, writer, store, opened, closed):
    ids = write_calls(writer, opened, closed, 2)
    with logs(folder)[0].open("ab") as file:
        file.write(bytes(FrameEncoder(segment_uuid(logs(folder)[0].stem).bytes).encode(opened()))[:77])
    assert recorder.step().torn_bytes == 0
    writer.close()
    progress = recorder.drain()
    assert (progress.torn_bytes, progress.damaged_bytes) == (77, 0)
    assert set(store.calls) == set(ids)
    assert logs(folder) == []
    assert list(folder.glob("*.damaged")) == []


def test_a_torn_frame_that_is_replaced_by_one_of_the_same_length_is_read(
    folder, recorder, writer, opened, closed
):
    """The disk was full: a half frame is taken back, and what is written next ends at the same place."""
    first = opened(request=b"x" * 600)
    writer.append(first)
    (path,) = logs(folder)
    fresh = bytes(FrameEncoder(segment_uuid(path.stem).bytes).encode(closed(first.id)))
    half = bytes(FrameEncoder(segment_uuid(path.stem).bytes).encode(opened(request=b"y" * 5000)))[
        : len(fresh)
    ]
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size)
        file.write(half)
    assert recorder.step().records == 1
    with path.open("r+b") as file:
        file.seek(size)
        file.write(fresh)
    assert recorder.step().stored == 1


def test_a_segment_of_a_newer_format_is_left_alone_and_reported(
    folder, recorder, writer, store, opened, closed
):
    name = f"w-{new_id()}.log"
    header = bytearray(encode_header(Header(1, bytes(16), bytes(16))))
    header[8] = 9
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    (folder / name).write_bytes(bytes(header) + b"whatever")
    ids = write_calls(writer, opened, closed, 2)
    writer.close()
    progress = recorder.drain()
    assert progress.too_new == (name,)
    assert set(store.calls) == set(ids)
    assert [path.name for path in logs(folder)] == [name]
    assert progress.idle


def test_a_file_that_is_no_segment_is_set_aside(folder, recorder, store):
    (folder / "notes.log").write_bytes(b"hello " * 100)
    recorder.drain()
    assert [path.name for path in folder.iterdir() if path.name != "recorder.lock"] == ["notes.damaged"]


def test_a_segment_deleted_by_hand_is_read_to_its_end(folder, recorder, writer, store, opened, closed):
    write_calls(writer, opened, closed, 2)
    recorder.step()
    logs(folder)[0].unlink()
    write_calls(writer, opened, closed, 2)
    writer.close()
    progress = recorder.drain()
    assert len(store.calls) == 4
    assert not progress.error


def test_a_file_that_cannot_be_opened_is_reported_and_the_others_are_read(
    folder, recorder, writer, store, opened, closed
):
    (folder / "bad-x.log").symlink_to(folder / "nowhere")
    write_calls(writer, opened, closed, 2)
    progress = recorder.step()
    assert "bad-x.log" in progress.error
    assert len(store.calls) == 2


def test_a_disk_that_fails_to_read_is_reported_and_tried_again(
    recorder, writer, store, opened, closed, monkeypatch
):
    write_calls(writer, opened, closed, 2)

    def refuse(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(reader.os, "pread", refuse)
        assert "Input/output error" in recorder.step().error
    assert recorder.step().stored == 2


# A store that fails


def test_a_failing_store_loses_nothing(folder, recorder, writer, store, opened, closed, feedback):
    ids = write_calls(writer, opened, closed, 5)
    writer.append(feedback(ids[0]))
    store.failure = StorageError("disk full")
    for _ in range(3):
        progress = recorder.step()
        assert "disk full" in progress.error
    ids += write_calls(writer, opened, closed, 5)
    writer.close()
    assert recorder.step().error
    assert len(logs(folder)) == 1
    store.failure = None
    assert recorder.drain().error == ""
    assert set(store.calls) == set(ids)
    assert len(store.feedback) == 1
    assert logs(folder) == []


def test_while_the_store_fails_nothing_more_is_read(folder, store, clock, writer, opened, closed):
    store.failure = StorageError("disk full")
    with Recorder(folder, store, clock=clock, limits=Limits(ready_bytes=2_000)) as recorder:
        write_calls(writer, opened, closed, 50)
        assert recorder.step().records
        write_calls(writer, opened, closed, 50)
        for _ in range(3):
            assert recorder.step().records == 0
        store.failure = None
        recorder.drain()
    assert len(store.calls) == 100


def test_one_record_that_cannot_be_stored_does_not_keep_the_others_out(
    folder, recorder, writer, store, opened, closed
):
    ids = write_calls(writer, opened, closed, 5)
    store.poison = {ids[2]}
    progress = recorder.step()
    assert (progress.stored, progress.refused) == (4, 1)
    assert ids[2] in progress.error
    writer.close()
    for _ in range(3):
        recorder.step()
    assert set(store.calls) == set(ids) - store.poison
    assert len(list(folder.glob("*.damaged"))) == 1, "the record must stay on the disk"
    assert logs(folder) == []


def test_a_broken_index_does_not_keep_the_log_from_being_emptied(
    folder, recorder, writer, store, opened, closed
):
    write_calls(writer, opened, closed, 2)
    writer.close()
    store.index_failure = StorageError("index is damaged")
    for _ in range(3):
        progress = recorder.step()
    assert "index is damaged" in progress.error
    assert logs(folder) == []
    store.index_failure = None
    recorder.drain()
    assert store.unindexed == set()


# Bounds


def test_batches_have_at_most_a_thousand_calls(folder, recorder, writer, store, opened, closed):
    write_calls(writer, opened, closed, 2_500)
    recorder.drain()
    assert len(store.calls) == 2_500
    assert max(store.batches) <= 1_000


def test_a_step_reads_no_more_than_its_share_and_then_the_index_has_its_turn(
    folder, store, clock, writer, opened, closed
):
    write_calls(writer, opened, closed, 3_000)
    limits = Limits(pass_bytes=1_000_000)
    size = logs(folder)[0].stat().st_size
    with Recorder(folder, store, clock=clock, limits=limits) as recorder:
        steps = 0
        while (progress := recorder.step()).behind:
            steps += 1
            clock.advance(1)
            assert store.unindexed == set() or steps == 1
        assert steps == size // 1_048_576
    assert len(store.calls) == 3_000
    assert progress.error == ""


def test_indexing_waits_half_a_second_while_calls_keep_coming(recorder, writer, store, clock, opened, closed):
    write_calls(writer, opened, closed, 1)
    assert recorder.step().indexed == 0
    clock.advance(0.4)
    write_calls(writer, opened, closed, 1)
    assert recorder.step().unindexed == 2
    clock.advance(0.11)
    write_calls(writer, opened, closed, 1)
    assert recorder.step().indexed == 3
    write_calls(writer, opened, closed, 1)
    assert recorder.step().indexed == 0
    assert recorder.step().indexed == 1, "an idle moment is used at once"


def test_an_earlier_recorders_index_backlog_is_taken_up(folder, store, clock):
    store.unindexed = {str(n) for n in range(2_500)}
    with Recorder(folder, store, clock=clock) as recorder:
        recorder.drain()
    assert store.unindexed == set()


def test_a_record_larger_than_a_piece_is_read(folder, recorder, writer, store, opened, closed):
    big = opened(request=b"x" * 3_500_000)
    ids = write_calls(writer, opened, closed, 2)
    writer.append(big)
    ids += write_calls(writer, opened, closed, 2)
    writer.append(closed(big.id))
    recorder.drain()
    assert set(store.calls) == {*ids, big.id}
    assert store.calls[big.id].opened == big


def test_open_calls_beyond_the_bound_are_read_again_from_the_log(
    folder, store, clock, writer, opened, closed
):
    records = [opened(request=os.urandom(500)) for _ in range(30)]
    for record in records:
        writer.append(record)
    with Recorder(folder, store, clock=clock, limits=Limits(open_bytes=4_000)) as recorder:
        assert recorder.step().open_calls == 30
        for record in records[:20]:
            writer.append(closed(record.id))
        recorder.step()
        writer.close()
        recorder.drain()
    assert {call.id: call.opened for call in store.calls.values()} == {
        record.id: record for record in records
    }
    assert sum(call.state == "unfinished" for call in store.calls.values()) == 10
    assert logs(folder) == []


def test_an_opening_that_the_disk_lost_meanwhile_is_flagged(folder, store, clock, writer, opened, closed):
    first = opened()
    writer.append(first)
    with Recorder(folder, store, clock=clock, limits=Limits(open_bytes=0)) as recorder:
        recorder.step()
        damage(logs(folder)[0], HEADER_BYTES + 30)
        writer.append(closed(first.id))
        assert recorder.step().opening_lost == 1
        writer.close()
        recorder.drain()
    assert OPENING_LOST in store.calls[first.id].opened.tags
    assert len(list(folder.glob("*.damaged"))) == 1


def test_no_writer_is_starved_by_a_busier_one(folder, store, clock, opened, closed):
    busy, quiet = LogWriter(folder, "busy"), LogWriter(folder, "quiet")
    write_calls(busy, opened, closed, 4_000)
    (wanted,) = write_calls(quiet, opened, closed, 1)
    with Recorder(folder, store, clock=clock, limits=Limits(pass_bytes=1_000_000)) as recorder:
        assert recorder.step().behind
        recorder.step()
    assert wanted in store.calls
    busy.close()
    quiet.close()


# Lock, life


def test_one_recorder_at_a_time(folder, recorder, store):
    with pytest.raises(FolderBusy, match="another recorder"):
        Recorder(folder, store)
    assert stat.S_IMODE((folder / "recorder.lock").stat().st_mode) == 0o600
    recorder.close()
    recorder.close()
    Recorder(folder, store).close()


def test_leftovers_of_a_death_while_a_segment_was_made_are_swept_up(folder, store, clock):
    folder.mkdir()
    old, young = folder / "w-1.new", folder / "w-2.new"
    for path, age_s in ((old, 61), (young, 30)):
        path.write_bytes(b"")
        os.utime(path, (clock.now_us() / 1e6 - age_s,) * 2)
    Recorder(folder, store, clock=clock).close()
    assert not old.exists()
    assert young.exists()


def test_run_pauses_stops_and_drains(folder, recorder, writer, store, opened, closed):
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            write_calls(writer, opened, closed, 1)
            writer.close()

    progress = recorder.run(lambda: len(naps) >= 3, sleep=sleep)
    assert all(0 < nap <= 0.2 for nap in naps)
    assert len(store.calls) == 1, "what was written before the stop is stored"
    assert progress.idle


def test_run_backs_off_while_the_store_fails_and_recovers(recorder, writer, store, opened, closed):
    write_calls(writer, opened, closed, 3)
    store.failure = StorageError("disk full")
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if sum(naps) > 6:
            store.failure = None

    recorder.run(lambda: bool(store.calls), sleep=sleep)
    assert len(store.calls) == 3
    assert min(naps) > 0
    assert max(naps) <= 0.2, "stop is asked for at least every 200 ms"
    assert len(store.batches) == 1


def test_drain_ends_in_time_though_the_log_never_does(folder, store, clock, writer, opened, closed):
    def write_more():
        clock.advance(1)
        write_calls(writer, opened, closed, 1)

    store.on_insert = write_more
    write_calls(writer, opened, closed, 1)
    with Recorder(folder, store, clock=clock) as recorder:
        assert not recorder.drain(limit_s=5).idle
    assert 3 <= len(store.calls) <= 12


@pytest.mark.parametrize(
    "bad", ["01a20634-0000-7000-8000-00000000000g", "ffffffff-ffff-7fff-8fff-ffffffffffff"]
)
def test_ids_that_the_real_store_refuses_block_nothing(folder, tmp_path, opened, closed, feedback, bad):
    calls = open_call_store(tmp_path / "calls")
    writer = LogWriter(folder, "w")
    writer.append(opened(bad))
    writer.append(feedback(bad))
    [first] = write_calls(writer, opened, closed, 1)
    writer.append(closed(bad))
    writer.append(feedback(first))
    writer.append(closed(bad))  # the second one has lost its opening
    with Recorder(folder, calls) as recorder:
        progress = recorder.step()
        assert (progress.stored, progress.feedback, progress.refused) == (1, 1, 2)
        assert bad in progress.error
        writer.append(opened(bad))  # never closed: given up when its writer ends
        [second] = write_calls(writer, opened, closed, 1)
        assert recorder.step().stored == 1
        writer.close()
        assert recorder.step().refused == 4  # this call, and the feedback that waited for one of that id
        recorder.step()
        assert recorder.step().error == ""
    assert logs(folder) == []
    assert len(list(folder.glob("*.damaged"))) == 1, "the records must stay on the disk"
    for call_id, judged in ((first, 1), (second, 0)):
        call = calls.get(call_id)
        assert call is not None
        assert len(call.feedback) == judged
    calls.close()
