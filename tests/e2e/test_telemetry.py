"""The exporter of a whole installation: at least once to a strict collector, whatever dies meanwhile."""

import http.client
import json
import os
import signal
from collections import Counter

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_parser
from prometheus_client.parser import text_string_to_metric_families as plain_parser

from rigs.collector import Collector, facts
from rigs.house import House, until
from trimtab.telemetry import read_cursor
from trimtab.testing import FakeServer, Scripted

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def provider():
    with FakeServer(script=Scripted(text="This is an answer.")) as server:
        yield server


@pytest.fixture
def collector():
    with Collector() as running:
        yield running
    assert not running.problems


def call(house, number=1, *, stream=False):
    """Make calls; return their ids."""
    ids = []
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hippopotamus"}], "stream": stream}
    for _ in range(number):
        headers = {"content-type": "application/json", "traceparent": TRACE}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 200
        ids.append(reply.getheader("x-trimtab-call-id"))
    connection.close()
    return ids


def sections(collector):
    return f"""
[telemetry.otlp]
endpoint = "{collector.url}"
metrics_every_s = 1
[telemetry.otlp.resource]
"deployment.environment.name" = "test"
[telemetry.jsonl]
path = "calls.jsonl"
"""


def test_calls_reach_the_collector_over_the_death_of_everything(provider, collector, tmp_path) -> None:
    house = House(tmp_path / "house", provider.base_url, sections=sections(collector), drain_s=1)
    with house:
        pid = house.ready_pid("exporter")
        until(lambda: (house.data / "feed" / "otlp.cursor").exists(), "the sink begins")
        ids = call(house, 3) + call(house, 2, stream=True)
        until(lambda: set(collector.call_ids()) == set(ids), "the first calls are there")
        span = collector.spans[0]
        assert span.trace_id.hex() == TRACE[3:35]
        assert span.parent_span_id.hex() == TRACE[36:52]
        assert facts(span)["gen_ai.usage.output_tokens"] > 0
        os.kill(pid, signal.SIGKILL)
        ids += call(house, 4)
        assert house.ready_pid("exporter", but=pid)
        until(lambda: set(collector.call_ids()) == set(ids), "calls during its death are there")
        os.kill(house.ready_pid("recorder"), signal.SIGKILL)
        ids += call(house, 4)
        until(lambda: set(collector.call_ids()) == set(ids), "calls during the recorder's death are there")
        for pid in house.alive():
            os.kill(pid, signal.SIGKILL)
        house.process.wait()
    # A command stores what the log still holds, while nothing runs; the exporter hears of it all the same.
    assert house.run("calls", "list", "--json")
    with house:
        ids += call(house, 2)
        until(lambda: set(collector.call_ids()) == set(ids), "calls after the death of all are there")
        until(lambda: collector.metrics.get("gen_ai.client.operation.duration"), "metrics are there")
        lines = (house.home / "calls.jsonl").read_text().splitlines()
        until(
            lambda: len((house.home / "calls.jsonl").read_text().splitlines()) >= len(ids), "lines are there"
        )
        assert {json.loads(line)["trimtab.call.id"] for line in lines} <= set(ids)
        assert house.stop() == 0
    counted = Counter(collector.call_ids())
    # Each death can repeat what was under way, and nothing else.
    assert max(counted.values()) <= 3
    assert "hippopotamus" not in str(collector.seen)
    assert "hippopotamus" not in (house.home / "calls.jsonl").read_text()


def test_a_collector_that_is_not_there_holds_nothing_up_and_gets_all_later(provider, tmp_path) -> None:
    with Collector() as gone:
        port = gone.port
    there = f'[telemetry.otlp]\nendpoint = "http://127.0.0.1:{port}"\n'
    with House(tmp_path / "house", provider.base_url, sections=there) as house:
        cursor = house.data / "feed" / "otlp.cursor"
        until(lambda: cursor.exists(), "the sink begins")
        ids = call(house, 20)
        until(lambda: "no connection" in read_cursor(cursor).error, "the collector's absence is noted")
        until(lambda: house.admin(f"/api/v1/calls/{ids[-1]}")[0] == 200, "the calls are stored")
        with Collector(port) as back:
            until(lambda: set(back.call_ids()) == set(ids), "all are delivered")
            assert len(back.call_ids()) == len(ids)
            assert house.stop() == 0


def test_metrics_of_all_processes_are_there_in_both_formats(provider, collector, tmp_path) -> None:
    with House(tmp_path / "house", provider.base_url, workers=2, sections=sections(collector)) as house:
        call(house, 3, stream=True)

        def scrape(accept, parse):
            connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
            connection.request("GET", "/metrics", headers={"accept": accept})
            reply = connection.getresponse()
            text = reply.read().decode()
            connection.close()
            return {s.name: s.value for family in parse(text) for s in family.samples}

        for accept, parse in (
            ("text/plain", plain_parser),
            ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", open_parser),
        ):
            found = until(
                lambda a=accept, p=parse: (seen := scrape(a, p)).get("trimtab_calls_total") == 3 and seen,
                "the calls are counted",
            )
            assert found["trimtab_generation"] >= 1
            assert found["trimtab_time_to_first_token_seconds_count"] == 3
            assert found["trimtab_answered_total"] == 3
            assert found["trimtab_disk_free_bytes"] > 0
            until(
                lambda a=accept, p=parse: "trimtab_export_waiting" in scrape(a, p), "the exporter's are there"
            )


def test_a_sink_that_cannot_be_made_leaves_everything_else_up(provider, tmp_path) -> None:
    broken = (
        '[telemetry.otlp]\nendpoint = "http://127.0.0.1:9"\nheaders = { "x-key" = "${NOT_SET_ANYWHERE}" }\n'
    )
    with House(tmp_path / "house", provider.base_url, sections=broken) as house:
        assert call(house)
        until(lambda: "exporter is tried again in" in house.log, "it is said")
        assert "NOT_SET_ANYWHERE is not set" in house.log
        assert house.stop() == 0
