"""Both sinks of the house keep the port's promises, and the kit notices who does not."""

import asyncio
import json

import pytest

from rigs.collector import Collector
from trimtab.telemetry import Batch, Sent, SinkContext
from trimtab.telemetry.jsonl import sink as jsonl_sink
from trimtab.telemetry.otlp import sink as otlp_sink
from trimtab.testing import FrozenClock, check_sink

CONTEXT = SinkContext(name="it", env={}, clock=FrozenClock(), instance="i", version="0")


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("content", ["none", "spans", "events"])
def test_otlp(encoding, content):
    with Collector() as collector:
        options = {"endpoint": collector.url, "encoding": encoding, "content": content}
        said = None if content != "none" else lambda: str(collector.seen)
        asyncio.run(check_sink(lambda: otlp_sink(options, CONTEXT), collector.call_ids, said))
        assert not collector.problems


@pytest.mark.parametrize("content", ["none", "recorded"])
def test_jsonl(tmp_path, content):
    path = tmp_path / "calls.jsonl"
    options = {"path": str(path), "content": content}

    def delivered():
        lines = map(json.loads, path.read_text().splitlines())
        return [line["trimtab.call.id"] for line in lines if line["type"] == "call"]

    said = None if content != "none" else path.read_text
    asyncio.run(check_sink(lambda: jsonl_sink(options, CONTEXT), delivered, said))


class Lazy:
    """Says that it sent, and did not yet."""

    every_s = 0.0

    def __init__(self, there):
        self.there, self.waiting = there, []

    async def send(self, batch: Batch) -> Sent:
        self.there += self.waiting
        self.waiting = [call.id for call in batch.calls]
        return Sent()

    async def pulse(self, counters):
        pass

    async def aclose(self):
        pass


def test_a_sink_that_says_sent_before_it_is_does_not_pass():
    there = []
    with pytest.raises(AssertionError, match="on the other side"):
        asyncio.run(check_sink(lambda: Lazy(there), lambda: there))


def test_a_sink_that_lets_words_out_does_not_pass(tmp_path):
    path = tmp_path / "calls.jsonl"
    options = {"path": str(path), "content": "recorded"}

    def delivered():
        lines = map(json.loads, path.read_text().splitlines())
        return [line["trimtab.call.id"] for line in lines if line["type"] == "call"]

    with pytest.raises(AssertionError, match="words left"):
        asyncio.run(check_sink(lambda: jsonl_sink(options, CONTEXT), delivered, path.read_text))
