"""Open access through a real socket: programs of this machine, and nobody who speaks for strangers."""

import pytest

from rigs.gateway import POLICY
from trimtab.access import make_key
from trimtab.types import Policy, ProviderSpec

FAKE = ProviderSpec(name="f", kind="fake", models=("m",))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:8080", "[::1]", "[::1]:99"])
def test_a_loopback_host_is_let_in(site, host):
    assert site.chat(headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 403, "forbidden"),
        ({"Host": "127.0.0.1.evil.example"}, 403, "forbidden"),
        ({"Host": "localhost.evil.example:80"}, 403, "forbidden"),
        ({"Origin": "https://evil.example"}, 403, "forbidden"),
        ({"Origin": "null"}, 403, "forbidden"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "forbidden"),
        ({"X-Forwarded-For": "1.2.3.4"}, 401, "invalid_api_key"),
        ({"Forwarded": "for=1.2.3.4"}, 401, "invalid_api_key"),
        ({"Via": "1.1 proxy"}, 401, "invalid_api_key"),
        ({"Authorization": "Bearer tt-unknown"}, 401, "invalid_api_key"),
        ({"X-Api-Key": "tt-unknown"}, 401, "invalid_api_key"),
    ],
)
@pytest.mark.parametrize("path", ["chat", "models", "feedback"])
def test_whoever_speaks_for_strangers_is_not(site, headers, status, code, path):
    if path == "chat":
        answer = site.chat(headers=headers)
    elif path == "models":
        answer = site.send("GET", "/v1/models", None, headers)
    else:
        answer = site.send("POST", "/v1/feedback", b"{}", headers)
    assert answer.status == status
    assert answer.error["code"] == code
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"])
def test_a_page_of_this_machine_may_call(site, origin):
    assert site.chat(headers={"Origin": origin}).status == 200


def test_a_foreign_key_is_ignored_where_open_access_holds(site):
    assert site.chat(headers={"Authorization": "Bearer sk-whatever"}).status == 200


def test_without_open_access_a_key_of_ours_is_needed_and_works_from_anywhere(make):
    plain, spec = make_key("app", project="acme", payload="hash")
    policy = Policy(open_access=False, deadlines=POLICY.deadlines, retry=POLICY.retry)
    site = make(FAKE, policy=policy, keys=(spec,))
    for headers in ({}, {"Authorization": "Bearer sk-x"}, {"Authorization": "Bearer tt-x"}):
        answer = site.chat(headers=headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.error["type"] == "authentication_error"
    strange = {"Host": "gateway.example", "X-Forwarded-For": "1.2.3.4", "Content-Type": "text/plain"}
    assert site.chat(headers={"Authorization": f"Bearer {plain}", **strange}).status == 200
    assert site.chat(headers={"x-api-key": plain}).status == 200
    assert site.send("GET", "/healthz").status == 200, "health needs no key"
    for opened, closed in site.rig.calls(2):
        assert (opened.key, opened.project, opened.payload) == (spec.id, "acme", "hash")
        assert len(opened.request) == len(closed.response) == 32
    records = b"".join(p.read_bytes() for p in (site.rig.folder / "log").rglob("*") if p.is_file())
    assert plain.encode() not in records
