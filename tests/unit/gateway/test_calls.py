"""Calls through a real socket: headers, streams, degraded answers, what is recorded of a request."""

import socket
import time

import msgspec
import pytest

from rigs.gateway import POLICY
from trimtab.types import ProviderSpec, Release, RouteSpec, WeightedRelease, id_time_us


def fake(name="f", *models, **options) -> ProviderSpec:
    return ProviderSpec(name=name, kind="fake", models=models or ("m",), options=options)


def test_an_answer_names_its_call_its_release_and_its_model(site):
    answer = site.chat()
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert id_time_us(answer.headers["x-trimtab-call-id"]) > 0
    assert answer.headers["x-trimtab-release"] == Release(model="f/m").id()
    assert answer.headers["x-trimtab-model"] == "f/m"
    assert "x-trimtab-degraded" not in answer.headers
    assert "x-trimtab-error" not in answer.headers
    assert answer.json()["choices"][0]["message"]["content"] == "Paris"


def test_a_stream_has_the_same_headers_and_ends_in_its_marker(site):
    answer = site.chat(stream=True)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-trimtab-model"] == "f/m"
    assert "content-length" not in answer.headers
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert answer.body.count(b"[DONE]") == 1
    assert b'"usage":{' not in answer.body


def test_usage_comes_with_a_stream_that_asked_for_it(site):
    answer = site.chat(stream=True, stream_options={"include_usage": True})
    events = [msgspec.json.decode(e[6:]) for e in answer.body.split(b"\n\n")[:-2]]
    assert events[-1]["usage"]["total_tokens"] > 0
    assert events[-1]["choices"] == []


def test_a_bare_name_is_served_under_its_full_one(site):
    answer = site.chat("n")
    assert answer.headers["x-trimtab-model"] == "f/n"


def test_headers_of_the_request_are_kept_with_the_call(make):
    site = make(fake())
    headers = {
        "User-Agent": "agent/1",
        "Traceparent": "00-abc-def-01",
        "X-Trimtab-Session": "s-1",
        "X-Trimtab-User": "ü",
        "X-Trimtab-Tags": " a, b ,,c",
    }
    body = msgspec.json.encode({"model": "f/m", "messages": [], "user": "other"})
    raw = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    raw += b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items())
    with socket.create_connection(("127.0.0.1", site.rig.port), timeout=5) as client:
        client.sendall(raw + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    [(opened, closed)] = site.rig.calls(1)
    assert (opened.client, opened.trace_parent, opened.session) == ("agent/1", "00-abc-def-01", "s-1")
    assert (opened.user, opened.tags) == ("ü", ("a", "b", "c"))
    assert opened.request == body
    assert closed.state == "ok"


def test_long_labels_are_cut_and_bytes_that_are_no_text_replaced(make):
    site = make(fake())
    site.chat(headers={"X-Trimtab-Session": "x" * 1000})
    [(opened, _)] = site.rig.calls(1)
    assert opened.session == "x" * 256


@pytest.mark.parametrize("name", ["X-Trimtab-Session", "X-Trimtab-User", "X-Trimtab-Tags", "User-Agent"])
def test_control_characters_in_a_label_are_refused(site, name):
    answer = site.chat(headers={name: "a\tb"})
    assert answer.status == 400
    assert "printable" in answer.error["message"]


def test_a_providers_rate_limits_are_passed_on(make):
    reply = {"text": "x", "headers": {"x-ratelimit-remaining-requests": "7", "x-other": "1"}}
    answer = make(fake(replies=(reply,))).chat()
    assert answer.headers["x-ratelimit-remaining-requests"] == "7"
    assert "x-other" not in answer.headers


def test_embeddings(site):
    body = msgspec.json.encode({"model": "f/m", "input": ["a", "b"]})
    answer = site.send("POST", "/v1/embeddings", body)
    assert answer.status == 200
    assert len(answer.json()["data"]) == 2
    assert answer.headers["x-trimtab-model"] == "f/m"


def degrading(site) -> None:
    """Let the provider be one of lesser quality: a fact that the own model's provider states of itself."""
    site.rig.core.state.providers["f"].degraded_mode = True


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_lesser_default_model_that_stands_in_is_said_to(make, stream):
    site = make(fake(), default_model="f/m")
    degrading(site)
    answer = site.chat("gpt-4o", stream=stream)
    assert answer.status == 200
    assert answer.headers["x-trimtab-degraded"] == "true"
    assert answer.headers["x-trimtab-model"] == "f/m"
    asked = site.chat("f/m", stream=stream)
    assert "x-trimtab-degraded" not in asked.headers, "whoever asks for it by name knows"
    calls = site.rig.calls(2)
    assert {(o.model_asked, c.degraded) for o, c in calls} == {("gpt-4o", True), ("f/m", False)}


def test_a_lesser_fallback_of_a_route_is_said_to_stand_in(make):
    release = Release(model="down/x", fallbacks=("f/m",))
    site = make(
        fake("down", "x", fault="refused"),
        fake(),
        routes=(RouteSpec(name="chat", channels={"production": (WeightedRelease(release="rel"),)}),),
        releases={"rel": release},
    )
    degrading(site)
    answer = site.chat("route/chat")
    assert answer.headers["x-trimtab-degraded"] == "true"
    assert answer.headers["x-trimtab-model"] == "f/m"
    assert answer.headers["x-trimtab-release"] == "rel"


def test_a_stream_that_breaks_ends_in_an_error_event_and_an_unterminated_body(make):
    policy = msgspec.structs.replace(POLICY, retry=msgspec.structs.replace(POLICY.retry, attempts=1))
    site = make(fake(fault="cut_between_events"), policy=policy)
    body = msgspec.json.encode({"model": "f/m", "messages": [], "stream": True})
    with socket.create_connection(("127.0.0.1", site.rig.port), timeout=5) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        data = b""
        while piece := client.recv(65536):
            data += piece
    assert data.startswith(b"HTTP/1.1 200")
    assert b'"code":"stream_cut"' in data
    assert b"data: [DONE]" not in data
    assert not data.endswith(b"0\r\n\r\n"), "the body must not end as if it were complete"
    [(_, closed)] = site.rig.calls(1)
    assert (closed.state, closed.error_code) == ("error", "stream_cut")


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_is_given_again_says_so(make, stream):
    release = Release(model="f/m")
    arm = {"production": (WeightedRelease(release=release.id()),)}
    route = RouteSpec(name="r", channels=arm, cache_ttl_s=60)
    site = make(fake(), routes=(route,), releases={release.id(): release})
    first = site.chat("route/r", stream=stream)
    assert first.headers["x-trimtab-cache"] == "miss"
    assert "age" not in first.headers
    until = time.monotonic() + 10  # it is kept by a thread of its own
    made = [first.body]
    while (second := site.chat("route/r", stream=stream)).headers["x-trimtab-cache"] == "miss":
        made.append(second.body)
        assert time.monotonic() < until
    assert second.headers["x-trimtab-cache"] == "hit"
    assert second.headers["x-trimtab-cost-nusd"] == "0"
    assert int(second.headers["age"]) < 30
    assert second.headers["x-trimtab-call-id"] != first.headers["x-trimtab-call-id"]
    assert second.headers["x-trimtab-model"] == "f/m"
    assert second.body in made
    anew = site.chat("route/r", stream=stream, headers={"Cache-Control": "no-store"})
    assert "x-trimtab-cache" not in anew.headers
    assert "x-trimtab-cache" not in site.chat("f/m", stream=stream).headers
