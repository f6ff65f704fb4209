"""Errors on the wire: OpenAI's shape, a stable code, the right status, on a real socket."""

import msgspec
import pytest

from rigs.gateway import POLICY
from trimtab.gateway.replies import error_body
from trimtab.types import ProviderSpec, all_errors
from trimtab.types.errors import ProviderRejected

ONCE = msgspec.structs.replace(POLICY, retry=msgspec.structs.replace(POLICY.retry, attempts=1))


@pytest.mark.parametrize(
    "cls", [c for c in all_errors() if c is not ProviderRejected], ids=lambda c: c.__name__
)
def test_every_error_has_openais_shape(cls):
    body = msgspec.json.decode(error_body(cls("the words", param="model")))
    assert body == {"error": {"message": "the words", "type": cls.kind, "param": "model", "code": cls.code}}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat/completions", "POST"),
        ("/v1/embeddings", "POST"),
        ("/v1/feedback", "POST"),
        ("/v1/models", "GET"),
        ("/healthz", "GET or HEAD"),
        ("/readyz", "GET or HEAD"),
        ("/metrics", "GET"),
    ],
)
def test_a_path_under_another_method_is_refused_and_the_right_one_named(site, path, allowed):
    for method in {"GET", "POST", "PUT", "DELETE", "OPTIONS"} - set(allowed.split(" or ")):
        answer = site.send(method, path)
        assert answer.status == 405
        assert answer.error["code"] == answer.headers["x-trimtab-error"] == "method_not_allowed"
        assert allowed in answer.error["message"]


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/chat", "/v2/models", "/v1/chat/completions/x", "/V1/models"]
)
def test_an_unknown_path_is_not_found_and_the_known_ones_named(site, path):
    answer = site.send("GET", path)
    assert answer.status == 404
    assert answer.error["code"] == "not_found"
    assert answer.error["type"] == "invalid_request_error"
    assert "/v1/chat/completions" in answer.error["message"]
    assert len(site.send("GET", "/" + "x" * 5000).body) < 1000


def test_a_slash_at_the_end_is_forgiven_and_a_query_ignored(site):
    assert site.send("GET", "/v1/models/").status == 200
    assert site.send("GET", "/healthz?x=1").status == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"text"', None),
        (b'{"model":"f/m"}', "messages"),
        (b'{"messages":[]}', "model"),
        (b'{"model":5,"messages":[]}', "model"),
        (b'{"model":"f/m","messages":[],"stream":"yes"}', "stream"),
    ],
)
def test_a_bad_body_is_the_callers_fault(site, body, param):
    answer = site.send("POST", "/v1/chat/completions", body)
    assert answer.status == 400
    assert (answer.error["code"], answer.error["type"]) == ("invalid_request", "invalid_request_error")
    assert answer.error["param"] == param
    assert answer.headers["content-type"] == "application/json"
    assert "x-trimtab-call-id" not in answer.headers, "there was no call"


@pytest.mark.parametrize("model", ["nobody/x", "unlisted"])
def test_a_model_that_nobody_serves_is_not_found(site, model):
    answer = site.chat(model)
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert answer.error["param"] == "model"
    assert "f/m" in answer.error["message"]


def test_text_that_is_no_utf_8_is_the_callers_fault_at_the_fake_provider_too(site):
    answer = site.send("POST", "/v1/chat/completions", b'{"model":"f/m","messages":["\xff"]}')
    assert (answer.status, answer.headers["x-trimtab-error"]) == (400, "provider_rejected")


def test_a_provider_that_is_down_is_named_with_its_call(site):
    answer = site.chat("down/x")
    assert answer.status == 502
    assert answer.error["code"] == answer.headers["x-trimtab-error"] == "provider_unreachable"
    assert answer.error["type"] == "provider_error"
    assert answer.headers["x-trimtab-model"] == "down/x"
    assert len(answer.headers["x-trimtab-call-id"]) == 36


def test_a_stream_that_fails_before_its_first_content_still_has_a_status(site):
    answer = site.chat("down/x", stream=True)
    assert answer.status == 502
    assert answer.headers["content-type"] == "application/json"
    assert answer.error["code"] == "provider_unreachable"


def refusing(status: int, **more) -> ProviderSpec:
    options = {"replies": ({"status": status, **more},)}
    return ProviderSpec(name="f", kind="fake", models=("m",), options=options)


@pytest.mark.parametrize(
    ("status", "seen", "code"),
    [
        (400, 400, "context_length_exceeded"),
        (404, 404, "context_length_exceeded"),
        (422, 422, "context_length_exceeded"),
        (401, 502, "provider_auth_failed"),
        (403, 502, "provider_auth_failed"),
        (429, 429, "rate_limited"),
        (500, 502, "provider_failed"),
        (503, 503, "provider_unavailable"),
    ],
)
def test_what_a_provider_refuses(make, status, seen, code):
    body = {"error": {"message": "the words", "type": "t", "param": None, "code": "context_length_exceeded"}}
    answer = make(refusing(status, error=body), policy=ONCE).chat()
    assert answer.status == seen
    assert answer.error["code"] == code
    assert "the words" in answer.error["message"]
    if seen == status and status < 429:
        assert answer.json() == body, "a provider's own rejection goes out unchanged"
        assert answer.headers["x-trimtab-error"] == "provider_rejected"


def test_a_rejection_that_is_no_json_is_put_into_our_shape(make):
    answer = make(refusing(400, body="PGh0bWw+bm88L2h0bWw+")).chat()  # base64, as msgspec converts bytes
    assert answer.status == 400
    assert answer.error["code"] == "provider_rejected"
    assert "<html>no</html>" in answer.error["message"]


@pytest.mark.parametrize(("asked", "told"), [("30", "30"), ("30.2", "31"), ("0.5", "1")])
def test_retry_after_is_passed_on_in_whole_seconds(make, asked, told):
    answer = make(refusing(429, headers={"retry-after": asked}), policy=ONCE).chat()
    assert answer.status == 429
    assert answer.headers["retry-after"] == told
