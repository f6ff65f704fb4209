"""Health, metrics, models and feedback."""

import socket
import threading
import time

import msgspec
import pytest

from rigs.gateway import POLICY
from trimtab.types import FeedbackGiven, ProviderSpec, SpanEnded, new_id

FAKE = ProviderSpec(name="f", kind="fake", models=("m",))


def metric(site, name: str) -> int:
    answer = site.send("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    [line] = [row for row in answer.body.decode().splitlines() if row.startswith(f"{name} ")]
    return int(line.split()[1])


def test_health_and_readiness(site):
    assert site.send("GET", "/healthz").json() == {"status": "ok"}
    ready = site.send("GET", "/readyz")
    assert (ready.status, ready.json()) == (200, {"status": "ok", "generation": 7})
    head = site.send("HEAD", "/readyz")
    assert (head.status, head.body) == (200, b"")


def test_a_worker_without_a_snapshot_is_not_ready(make):
    site = make(FAKE, generation=0)
    answer = site.send("GET", "/readyz")
    assert (answer.status, answer.json()) == (503, {"status": "starting", "generation": 0})


def test_the_list_of_models_has_openais_shape(make):
    site = make(FAKE, ProviderSpec(name="open", kind="fake"))
    assert site.send("GET", "/v1/models").json() == {
        "object": "list",
        "data": [
            {"id": "f/m", "object": "model", "created": 0, "owned_by": "f"},
            {"id": "open/fake-1", "object": "model", "created": 0, "owned_by": "open"},
        ],
    }


def test_requests_are_counted_with_those_that_became_no_call(make):
    site = make(FAKE)
    assert metric(site, "trimtab_requests_total") == 1
    assert site.chat().status == 200
    assert site.chat("nobody/x").status == 404
    assert site.send("GET", "/nowhere").status == 404
    assert metric(site, "trimtab_requests_total") == 5
    assert metric(site, "trimtab_rejected_total") == 2
    assert metric(site, "trimtab_opened_total") == metric(site, "trimtab_answered_total") == 1
    assert metric(site, "trimtab_upstream_attempts_total") == 1
    assert metric(site, "trimtab_output_tokens_total") > 0
    assert "stream_chunks" not in site.send("GET", "/metrics").body.decode()


def test_requests_under_way_are_counted_while_they_are(make):
    slow = ProviderSpec(
        name="f",
        kind="fake",
        models=("m",),
        options={"replies": ({"text": "x", "pace": {"before_head_s": 0.4}},) * 3},
    )
    site = make(slow)
    assert metric(site, "trimtab_in_flight") == 1, "the one that asks"
    threads = [threading.Thread(target=site.chat) for _ in range(3)]
    for thread in threads:
        thread.start()
    until, most = time.monotonic() + 3, 0
    while most < 4 and time.monotonic() < until:
        most = max(most, metric(site, "trimtab_in_flight"))
    for thread in threads:
        thread.join()
    assert most == 4
    assert metric(site, "trimtab_in_flight") == 1


def test_requests_that_fail_or_are_left_do_not_stay_in_flight(make):
    site = make(ProviderSpec(name="f", kind="fake", models=("m",), options={"fault": "stall_before_head"}))
    with socket.create_connection(("127.0.0.1", site.rig.port)) as client:
        body = b'{"model":"f/m","messages":[]}'
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        until = time.monotonic() + 3
        while metric(site, "trimtab_in_flight") < 2:
            assert time.monotonic() < until
    until = time.monotonic() + 5
    while metric(site, "trimtab_in_flight") > 1:
        assert time.monotonic() < until, "a request of a client that left is still counted"
    assert site.chat("nobody/x").status == 404
    assert metric(site, "trimtab_in_flight") == 1


# --- feedback -----------------------------------------------------------------------------------------------


def give(site, **body):
    return site.send("POST", "/v1/feedback", msgspec.json.encode(body))


def test_feedback_is_an_event_in_the_log(make):
    site = make(FAKE)
    call_id = site.chat().headers["x-trimtab-call-id"]
    answer = give(site, call_id=call_id, name="thumbs", score=1, value="up", comment="good", user="u-1")
    assert answer.status == 200
    given = answer.json()
    assert (given["object"], given["call_id"]) == ("feedback", call_id)
    [record] = [r for r in site.rig.records() if isinstance(r, FeedbackGiven)]
    assert (record.id, record.call_id) == (given["id"], call_id)
    assert (record.name, record.score, record.value, record.comment) == ("thumbs", 1.0, "up", "good")
    assert (record.user, record.project, record.key) == ("u-1", "default", "")
    assert metric(site, "trimtab_feedback_total") == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"call_id": ""},
        {"response_id": ""},
        {"response_id": "x" * 257},
        {"response_id": "a\nb"},
        {"response_id": "chatcmpl-1", "call_id": new_id()},
        {"call_id": "x"},
        {"call_id": "0198f3c2-0000-4000-8000-000000000000"},
        {"call_id": "01a20634-0000-7000-8000-00000000000g"},
        {"call_id": "ffffffff-ffff-7fff-8fff-ffffffffffff"},
        {"call_id": new_id(1_577_836_799_999)},
        {"call_id": new_id(time.time_ns() // 1_000_000 + 2 * 86_400_000)},
        {"call_id": new_id(), "score": "high"},
        {"call_id": new_id(), "unknown": 1},
        {"call_id": new_id(), "name": None},
        {"call_id": 7},
    ],
)
def test_feedback_that_cannot_be_understood_is_refused(site, body):
    answer = give(site, **body)
    assert answer.status == 400
    assert answer.error["code"] == "invalid_request"
    assert "call_id" in answer.error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"call_id":"\xff"}'])
def test_feedback_that_is_no_json_is_refused(site, body):
    assert site.send("POST", "/v1/feedback", body).status == 400


def test_feedback_of_half_a_megabyte_is_refused(site):
    answer = give(site, call_id=new_id(), comment="x" * 500_000)
    assert answer.status == 413


def test_feedback_by_the_providers_response_id(make):
    site = make(FAKE)
    response_id = site.chat().json()["id"]
    answer = give(site, response_id=response_id, score=1)
    assert answer.status == 200
    assert answer.json()["response_id"] == response_id
    [record] = [r for r in site.rig.records() if isinstance(r, FeedbackGiven)]
    assert (record.call_id, record.response_id, record.score) == ("", response_id, 1.0)


# --- spans --------------------------------------------------------------------------------------------------


def a_span(**changes):
    now = time.time_ns() // 1000
    made = {
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "name": "answer",
        "started_us": now - 5,
        "ended_us": now,
    }
    return {**made, **changes}


def send_spans(site, *spans):
    return site.send("POST", "/v1/spans", msgspec.json.encode({"spans": spans}))


def test_spans_are_events_in_the_log(make):
    site = make(FAKE)
    answer = send_spans(
        site,
        a_span(parent_id="c" * 16, error="ValueError", attributes={"docs": 3, "k": ["é"]}),
        a_span(span_id="d" * 16),
    )
    assert answer.json() == {"object": "spans", "accepted": 2, "rejected": []}
    first, second = [r for r in site.rig.records() if isinstance(r, SpanEnded)]
    assert (first.trace_id, first.span_id, first.parent_id) == ("a" * 32, "b" * 16, "c" * 16)
    assert (first.name, first.error, first.project, first.key) == ("answer", "ValueError", "default", "")
    assert msgspec.json.decode(first.attributes) == {"docs": 3, "k": ["é"]}
    assert second.attributes == b""
    assert metric(site, "trimtab_spans_total") == 2


@pytest.mark.parametrize(("payload", "kept"), [("none", 0), ("hash", 32)])
def test_attributes_are_kept_under_the_payload_policy(make, payload, kept):
    site = make(FAKE, policy=msgspec.structs.replace(POLICY, payload=payload))
    send_spans(site, a_span(attributes={"question": "who am I?"}))
    [record] = [r for r in site.rig.records() if isinstance(r, SpanEnded)]
    assert len(record.attributes) == kept


BAD_SPANS = [
    {"trace_id": "A" * 32},
    {"trace_id": "0" * 32},
    {"span_id": "0" * 16},
    {"span_id": "b" * 15},
    {"parent_id": "x"},
    {"started_us": 5},
    {"ended_us": 1},
    {"started_us": 4102444800000000, "ended_us": 4102444800000001},
    {"attributes": [1]},
    {"attributes": {"x": "y" * 20000}},
    {"name": 7},
    {"unheard": 1},
]


def test_a_bad_span_costs_itself_alone(site):
    answer = send_spans(site, a_span(), *[a_span(**bad) for bad in BAD_SPANS], 7, a_span())
    assert answer.status == 200
    body = answer.json()
    assert body["accepted"] == 2
    assert [bad["index"] for bad in body["rejected"]] == list(range(1, len(BAD_SPANS) + 2))
    assert all(bad["reason"] for bad in body["rejected"])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"spans": 1}', b'{"spans": [' + b",".join([b"1"] * 1001) + b"]}"]
)
def test_what_is_no_list_of_spans_is_refused(site, body):
    answer = site.send("POST", "/v1/spans", body)
    assert (answer.status, answer.error["param"]) == (400, "spans")
