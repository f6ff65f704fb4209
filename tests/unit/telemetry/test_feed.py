"""The feed: every stored row once, in order, over restarts and torn writes; the oldest go beyond the bound."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.telemetry import FeedReader, FeedWriter, feed
from trimtab.telemetry.feed import ENTRY_BYTES, FILE_ENTRIES, feed_files
from trimtab.testing.calls import sample_call, unfinished
from trimtab.types import SpanEnded, new_id


def calls(number):
    return [sample_call(id=new_id()) for _ in range(number)]


def everything(folder):
    reader = FeedReader(folder)
    first, end = reader.bounds()
    found = []
    while first + len(found) < end:
        found += reader.read(first + len(found), 100)
    return [entry.id for entry in found]


def test_rows_come_in_the_order_they_were_stored(tmp_path):
    writer = FeedWriter(tmp_path, most=10**6)
    rows = calls(250)
    writer.add(rows[:100], 100)
    span = SpanEnded("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "", "n", "p", 1, 2, "", b"")
    writer.add([span], 1)
    writer.close()
    writer = FeedWriter(tmp_path, most=10**6)
    assert writer.next == 101
    writer.add(rows[100:], 150)
    assert everything(tmp_path) == [r.id for r in rows[:100]] + [span.id] + [r.id for r in rows[100:]]


def test_a_row_that_is_read_again_after_a_crash_is_fed_only_if_it_was_not(tmp_path):
    writer = FeedWriter(tmp_path, most=10**6)
    rows = calls(10)
    writer.add(rows[:6], 6)
    # The recorder died after the store had all ten, and before the feed had the last four.
    writer = FeedWriter(tmp_path, most=10**6)
    writer.add(rows, 0)
    writer.add(rows, 0)
    assert everything(tmp_path) == [row.id for row in rows]


def test_the_late_end_of_an_unfinished_call_is_fed_too(tmp_path):
    writer = FeedWriter(tmp_path, most=10**6)
    (row,) = calls(1)
    writer.add([unfinished(row)], 1)
    writer.add([row], 0)
    assert everything(tmp_path) == [row.id, row.id]


def test_an_entry_that_its_writer_died_over_is_cut_off(tmp_path):
    writer = FeedWriter(tmp_path, most=10**6)
    rows = calls(3)
    writer.add(rows, 3)
    writer.close()
    ((_, path),) = feed_files(tmp_path)
    os.truncate(path, 3 * ENTRY_BYTES - 4)
    assert everything(tmp_path) == [row.id for row in rows[:2]]
    writer = FeedWriter(tmp_path, most=10**6)
    writer.add(rows, 0)
    assert everything(tmp_path) == [row.id for row in rows]


def test_beyond_the_bound_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "FILE_ENTRIES", 10)
    writer = FeedWriter(tmp_path, most=30)
    rows = calls(100)
    for row in rows:
        writer.add([row], 1)
    assert FeedReader(tmp_path).bounds() == (60, 100)
    assert everything(tmp_path) == [row.id for row in rows[60:]]


def test_what_all_have_taken_goes_and_the_count_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "FILE_ENTRIES", 10)
    writer = FeedWriter(tmp_path, most=1000)
    writer.add(calls(30), 30)
    FeedReader(tmp_path).forget(30)
    assert FeedReader(tmp_path).bounds() == (20, 30)
    writer = FeedWriter(tmp_path, most=1000)
    writer.add(calls(1), 1)
    assert FeedReader(tmp_path).bounds() == (20, 31)


def test_a_full_disk_holds_nobody_up_and_what_waited_is_written_later(tmp_path, monkeypatch):
    writer = FeedWriter(tmp_path, most=10**6)
    rows = calls(9)
    real = os.write
    room = [60]

    def write(fd, data):
        if not room[0]:
            raise OSError(28, "No space left on device")
        data, room[0] = data[: room[0]], 0
        return real(fd, data)

    monkeypatch.setattr(feed.os, "write", write)
    writer.add(rows[:5], 5)
    assert "No space" in writer.error
    assert everything(tmp_path) == [row.id for row in rows[:2]]
    writer.add(rows[5:8], 3)
    monkeypatch.setattr(feed.os, "write", real)
    writer.add(rows[8:], 1)
    assert not writer.error
    assert everything(tmp_path) == [row.id for row in rows]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=12), st.randoms())
def test_any_order_of_batches_restarts_and_repeats_feeds_each_row_once(tmp_path_factory, steps, random):
    folder = tmp_path_factory.mktemp("feed")
    writer = FeedWriter(folder, most=10**6)
    rows = []
    for number, restart in steps:
        batch = calls(number)
        again = random.sample(rows, min(len(rows), 5))
        rows += batch
        writer.add([*again, *batch], len(batch))
        if restart:
            writer.close()
            writer = FeedWriter(folder, most=10**6)
    writer.close()
    assert everything(folder) == [row.id for row in rows]
    assert FILE_ENTRIES > 0
