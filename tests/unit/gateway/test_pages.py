"""Health, metrics, models and feedback."""

import socket
import threading
import time

import msgspec
import pytest

from trimtab.types import FeedbackGiven, ProviderSpec, new_id

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
