"""The exporter: at least once and in order, whatever the other side does; nothing is sent twice without need."""

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from rigs.collector import Answer, Collector
from trimtab.telemetry import (
    Batch,
    Exporter,
    FeedWriter,
    Limits,
    Sent,
    SinkUnavailable,
    exporter,
    feed,
    read_cursor,
)
from trimtab.telemetry.jsonl import sink as jsonl_sink
from trimtab.telemetry.otlp import sink as otlp_sink
from trimtab.testing.calls import sample_call
from trimtab.types import new_id


class Rows:
    """A store of rows in memory."""

    def __init__(self):
        self.held = {}

    def calls(self, ids):
        return [self.held[name] for name in ids if name in self.held]

    def spans(self, ids):
        return []


class Site:
    """A feed with its store."""

    def __init__(self, folder):
        self.folder = folder
        self.rows = Rows()
        self.writer = FeedWriter(folder, most=10**6)
        self.added = []

    def add(self, number, **changes):
        made = [sample_call(id=new_id(), **changes) for _ in range(number)]
        self.rows.held.update((call.id, call) for call in made)
        self.writer.add(made, number)
        self.added += [call.id for call in made]

    async def run(self, sinks, *, until, limits=None):
        """Export until `until` holds."""
        stop = asyncio.Event()
        made = Exporter(self.folder, self.rows, sinks, limits=limits, counters=lambda: {"requests": 3})
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(made.run(stop))
            while not until():
                await asyncio.sleep(0.01)
            stop.set()
        return made.state()


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "_FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(exporter, "_LONGEST_PAUSE_S", 0.05)
    made = Site(tmp_path / "feed")
    # As if the sinks had been configured from the start.
    (made.folder / "otlp.cursor").write_text('{"next":0}')
    (made.folder / "jsonl.cursor").write_text('{"next":0}')
    return made


def otlp(collector, context, **options):
    return {"otlp": otlp_sink({"endpoint": collector.url, "signals": ["traces"], **options}, context)}


async def test_everything_is_exported_once_and_in_order(site, collector, context):
    site.add(1300)
    state = await site.run(otlp(collector, context), until=lambda: len(collector.call_ids()) >= 1300)
    assert collector.call_ids() == site.added
    assert state["otlp"].delivered == 1300
    assert read_cursor(site.folder / "otlp.cursor").next == 1300


async def test_a_restart_goes_on_where_it_was(site, collector, context):
    site.add(10)
    await site.run(otlp(collector, context), until=lambda: len(collector.call_ids()) == 10)
    site.add(10)
    await site.run(otlp(collector, context), until=lambda: len(collector.call_ids()) == 20)
    assert collector.call_ids() == site.added


async def test_a_dead_collector_loses_nothing(site, context):
    with Collector() as first:
        port = first.port
    site.add(700)
    sinks = {"otlp": otlp_sink({"endpoint": f"http://127.0.0.1:{port}", "signals": ["traces"]}, context)}
    cursor = site.folder / "otlp.cursor"
    await site.run(sinks, until=lambda: "no connection" in read_cursor(cursor).error)
    assert read_cursor(cursor).next == 0
    with Collector(port) as second:
        sinks = {"otlp": otlp_sink({"endpoint": second.url, "signals": ["traces"]}, context)}
        await site.run(sinks, until=lambda: len(second.call_ids()) == 700)
        assert second.call_ids() == site.added
    assert read_cursor(cursor).error == ""


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 401, 404])
async def test_passing_refusals_are_tried_until_they_pass(site, collector, context, status):
    collector.answers += [Answer(status)] * 4
    site.add(5)
    await site.run(otlp(collector, context), until=lambda: len(collector.call_ids()) == 5)
    assert collector.call_ids() == site.added


async def test_a_batch_that_is_no_good_does_not_hold_up_the_next(site, collector, context):
    collector.answers.append(Answer(400))
    site.add(4)
    state = await site.run(
        otlp(collector, context), until=lambda: len(collector.call_ids()) == 2, limits=Limits(rows=2)
    )
    assert collector.call_ids() == site.added[2:]
    assert (state["otlp"].rejected, state["otlp"].delivered) == (2, 2)


async def test_a_batch_that_always_fails_is_given_up_at_last_and_counted(site, collector, context):
    collector.answers += [Answer(500)] * 10
    site.add(4)
    state = await site.run(
        otlp(collector, context), until=lambda: len(collector.call_ids()) == 2, limits=Limits(rows=2)
    )
    assert collector.call_ids() == site.added[2:]
    assert state["otlp"].rejected == 2


async def test_a_slow_collector_slows_no_other_sink(site, collector, context, tmp_path):
    held = threading.Event()
    collector.answers.append(Answer(hold=held))
    site.add(30)
    path = tmp_path / "calls.jsonl"
    sinks = otlp(collector, context) | {"jsonl": jsonl_sink({"path": str(path)}, context)}

    def seen():
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) == 30 and not collector.call_ids():
            held.set()
        return held.is_set() and len(collector.call_ids()) == 30

    await site.run(sinks, until=seen)
    assert [json.loads(line)["trimtab.call.id"] for line in path.read_text().splitlines()] == site.added


async def test_what_was_erased_meanwhile_is_left_out_and_counted(site, collector, context):
    site.add(5)
    del site.rows.held[site.added[1]]
    state = await site.run(otlp(collector, context), until=lambda: len(collector.call_ids()) == 4)
    assert collector.call_ids() == [site.added[0], *site.added[2:]]
    assert (state["otlp"].gone, state["otlp"].delivered) == (1, 4)


async def test_what_fell_out_of_the_backlog_is_counted(site, collector, context, monkeypatch):
    monkeypatch.setattr(feed, "FILE_ENTRIES", 10)
    site.writer = FeedWriter(site.folder, most=20)
    site.add(100)
    state = await site.run(otlp(collector, context), until=lambda: len(collector.call_ids()) == 30)
    assert collector.call_ids() == site.added[70:]
    assert state["otlp"].dropped == 70


async def test_a_new_sink_begins_with_what_comes_from_now_on(site, collector, context):
    (site.folder / "otlp.cursor").unlink()
    site.add(5)
    cursor = site.folder / "otlp.cursor"

    def seen():
        if read_cursor(cursor).next == 5 and len(site.added) == 5:
            site.add(2)
        return len(collector.call_ids()) == 2

    await site.run(otlp(collector, context), until=seen)
    assert collector.call_ids() == site.added[5:]


async def test_large_payloads_make_small_batches(site, collector, context):
    site.add(6, request=b'"' + b"x" * 900 + b'"')
    await site.run(
        otlp(collector, context),
        until=lambda: len(collector.call_ids()) == 6,
        limits=Limits(payload_bytes=2000),
    )
    assert collector.call_ids() == site.added
    assert len(collector.requests) == 3


async def test_metrics_come_by_the_clock_and_at_the_end(site, collector, context):
    site.add(3)
    sinks = otlp(collector, context, signals=["metrics"], metrics_every_s=3600)
    cursor = site.folder / "otlp.cursor"
    await site.run(sinks, until=lambda: read_cursor(cursor).next == 3)
    (point,) = collector.metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert point.count == 3


class Odd:
    every_s = 0.0

    def __init__(self, failures):
        self.failures = failures
        self.taken = []

    async def send(self, batch: Batch) -> Sent:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("a plugin's own trouble")
        self.taken += [call.id for call in batch.calls]
        return Sent()

    async def pulse(self, counters):
        raise SinkUnavailable("never")

    async def aclose(self):
        pass


async def test_a_plugin_that_fails_in_its_own_way_ends_no_other_and_is_tried_again(site, collector, context):
    site.add(4)
    (site.folder / "odd.cursor").write_text('{"next":0}')
    odd = Odd(3)
    await site.run(
        otlp(collector, context) | {"odd": odd},
        until=lambda: len(odd.taken) == 4 == len(collector.call_ids()),
    )
    assert odd.taken == site.added


async def test_a_damaged_cursor_is_said_and_starts_from_now(site, collector, context, caplog):
    (site.folder / "otlp.cursor").write_text("{")
    with caplog.at_level("ERROR", "trimtab.telemetry"):
        assert read_cursor(site.folder / "otlp.cursor").next == -1
    assert "cannot be read" in caplog.text


async def test_lines_are_whole_rotated_and_say_no_word_unless_asked(tmp_path, context):
    path = tmp_path / "out" / "calls.jsonl"
    made = jsonl_sink({"path": str(path), "max_mb": 1, "keep": 2}, context)
    rows = tuple(sample_call(id=new_id(), question="hippopotamus") for _ in range(500))
    for _ in range(6):
        await made.send(Batch(calls=rows))
    files = sorted(p.name for p in path.parent.iterdir())
    assert files in (["calls.jsonl.1", "calls.jsonl.2"], ["calls.jsonl", "calls.jsonl.1", "calls.jsonl.2"])
    text = Path(path.parent / "calls.jsonl.1").read_text()
    assert "hippopotamus" not in text
    assert all(json.loads(line)["gen_ai.request.model"] == "gpt-4o" for line in text.splitlines())
    whole = jsonl_sink({"path": str(tmp_path / "w.jsonl"), "content": "recorded"}, context)
    await whole.send(Batch(calls=rows[:1]))
    line = json.loads((tmp_path / "w.jsonl").read_text())
    assert line["request"]["messages"][0]["content"] == "hippopotamus"


async def test_a_line_that_a_crash_cut_does_not_take_the_next_with_it(tmp_path, context):
    path = tmp_path / "calls.jsonl"
    path.write_text('{"type":"call","cut')
    made = jsonl_sink({"path": str(path)}, context)
    await made.send(Batch(calls=(sample_call(),)))
    assert Counter(line[:14] for line in path.read_text().splitlines())['{"type":"call"'] == 2
