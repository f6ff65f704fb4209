"""The admin API over a control process's room on real stores."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rigs.control import ControlRig
from trimtab.access import KeyRing
from trimtab.api import ROUTES, Published
from trimtab.storage.sqlite import open_call_store
from trimtab.types import Call, Closed, Opened, Usage, new_id

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "admin-api.md"
CONFIG = """
[providers.p]
api_key = "${P_KEY}"
base_url = "http://127.0.0.1:9/v1"
models = ["m"]
headers = {authorization = "secret-header"}
proxy = "http://user:secret-proxy@proxy:3128"
options = {token = "secret-option"}
[providers.q]
api_key = "secret-literal"
[providers.r]
api_key = "${R_KEY:-secret-default}"
models = ["m"]
[providers.openai]
[models."p/alias"]
targets = [{provider = "p", model = "m"}]
[routes.help]
model = "p/m"
"""


def a_call(request: bytes = b'{"model":"m"}', payload: Any = "full") -> Call:
    call_id = new_id()
    opened = Opened(
        id=call_id, opened_us=1_000_000, project="default", purpose="live", kind="chat", route="", channel="",
        release="rel_1", arm="", model_asked="m", model="p/m", params_hash="", stream=False, key="key_1",
        session="", user="", tags=("a",), client="", trace_parent="", parent_call="", replay_of="",
        payload=payload, request=request,
    )  # fmt: skip
    closed = Closed(
        id=call_id, closed_us=1_250_000, first_byte_us=0, state="ok", status=200, error_code="",
        error_message="", model="p/m", model_served="m", provider="p", provider_response_id="",
        provider_request_id="", fingerprint="", finish_reason="stop", attempts=(), usage=Usage(3, 4),
        cost_nusd=24750, price_version="v", degraded=False, cache_hit=False, response=b'{"x":1}',
    )  # fmt: skip
    return Call(opened=opened, closed=closed, state="ok")


def store(rig: ControlRig, *calls: Call) -> None:
    """Put calls into the store, as the recorder would."""
    writer = open_call_store(rig.layout.calls)
    writer.insert(calls)
    writer.close()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlRig]:
    monkeypatch.setenv("P_KEY", "secret-of-the-environment")
    with ControlRig(tmp_path, CONFIG) as rig:
        yield rig


def test_keys_are_made_shown_once_and_revoked(rig: ControlRig) -> None:
    made = rig.ask("POST", "/api/v1/keys", {"name": "app", "payload": "hash"})
    assert made.status == 201
    assert set(made.json["published"]) == {"generation", "obeyed", "waiting", "notes"}
    (stored,) = rig.run(rig.control.objects.keys())
    assert KeyRing([stored]).check(made.json["key"].encode()) == stored
    shown = {name: made.json[name] for name in ("id", "name", "project", "payload")}
    assert shown == {"id": stored.id, "name": "app", "project": "default", "payload": "hash"}
    listed = rig.ask("GET", "/api/v1/keys")
    assert [key["id"] for key in listed.json["keys"]] == [stored.id]
    assert made.json["key"].encode() not in listed.raw
    assert stored.sha256.encode() not in listed.raw
    assert rig.ask("DELETE", f"/api/v1/keys/{stored.id}").status == 200
    gone = rig.ask("DELETE", f"/api/v1/keys/{stored.id}")
    assert (gone.status, gone.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 201),
        (b'{"nmae":"x"}', 400),
        (b'{"payload":"all"}', 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"project":"none"}', 404),
        (b'{"name":"' + b"x" * 70_000 + b'"}', 413),
    ],
)
def test_bodies_are_checked(rig: ControlRig, body: bytes, status: int) -> None:
    got = rig.ask("POST", "/api/v1/keys", body)
    assert got.status == status
    if status != 201:
        assert set(got.json["error"]) == {"message", "type", "param", "code"}


def test_calls_are_filtered_and_paged(rig: ControlRig) -> None:
    older, call = sorted((a_call(), a_call()), key=lambda call: call.id)
    store(rig, older, call)
    found = rig.ask("GET", "/api/v1/calls?model=p/m&limit=1&state=ok&payload=1")
    assert found.status == 200
    (shown,) = found.json["calls"]
    assert found.json["before"] == shown["id"] == call.id
    assert shown["opened"]["request"] == {"model": "m"}
    assert shown["closed"]["response"] == {"x": 1}
    assert shown["closed"]["usage"]["input_tokens"] == 3
    assert shown["latency_ms"] == 250.0
    found = rig.ask("GET", f"/api/v1/calls?before={call.id}")
    assert [row["id"] for row in found.json["calls"]] == [older.id]
    assert found.json["calls"][0]["opened"]["request"] is None
    assert found.json["before"] is None
    assert rig.ask("GET", "/api/v1/calls?model=p/other").json["calls"] == []


def test_an_export_is_all_of_them_line_by_line(rig: ControlRig) -> None:
    calls = [a_call() for _ in range(1203)]
    store(rig, *calls)
    answer = rig.ask("GET", "/api/v1/calls/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.raw.splitlines()]
    assert [row["opened"]["id"] for row in rows] == sorted((call.id for call in calls), reverse=True)
    assert rows[0]["opened"]["request"] == {"model": "m"}
    assert len(rig.ask("GET", "/api/v1/calls/export?limit=700").raw.splitlines()) == 700


@pytest.mark.parametrize(
    "query",
    [
        "nonsense=1",
        "limit=0",
        "limit=9999",
        "limit=x",
        "state=good",
        "since_us=x",
        "since_us=-1",
        "before=x",
        "before=0198f3c2-0000-4000-8000-000000000000",
        f"until_us={10**19}",
        "payload=maybe",
        "text=" + "x" * 1001,
        "text=" + "+".join(f"w{n}" for n in range(300)),
    ],
)
def test_unusable_filters_are_named(rig: ControlRig, query: str) -> None:
    answer = rig.ask("GET", f"/api/v1/calls?{query}")
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")


def test_one_call_is_shown_whole(rig: ControlRig) -> None:
    call = a_call()
    store(rig, call)
    answer = rig.ask("GET", f"/api/v1/calls/{call.id}")
    assert (answer.status, answer.json["opened"]["request"]) == (200, {"model": "m"})
    assert rig.ask("GET", f"/api/v1/calls/{new_id()}").status == 404
    assert rig.ask("GET", "/api/v1/calls/nonsense").status == 404


@pytest.mark.parametrize(
    ("kept", "policy", "shown"),
    [
        (b"", "none", None),
        (b"\x01" * 32, "hash", {"sha256": "01" * 32}),
        (b"not json", "full", {"text": "not json"}),
        (b"\xff\xfe", "full", {"text": "\ufffd\ufffd"}),
    ],
)
def test_words_that_are_not_json_are_shown_as_what_they_are(
    rig: ControlRig, kept: bytes, policy: str, shown: object
) -> None:
    call = a_call(kept, policy)
    store(rig, call)
    assert rig.ask("GET", f"/api/v1/calls/{call.id}").json["opened"]["request"] == shown


def test_models_are_listed_with_what_is_known_of_them(rig: ControlRig) -> None:
    found = rig.ask("GET", "/api/v1/models")
    assert found.status == 200
    rows = {row["id"]: row for row in found.json["models"]}
    assert {"p/m", "p/alias", "r/m", "route/help"} <= set(rows)
    assert rows["route/help"]["routes_to"] == ["p/m"]
    # A provider that lists nothing stands with what the catalog knows of it.
    assert any(name.startswith("openai/") and row["input_nusd"] for name, row in rows.items())


def test_no_secret_is_in_the_snapshot_shown(rig: ControlRig) -> None:
    key = rig.ask("POST", "/api/v1/keys", {}).json["key"]
    (stored,) = rig.run(rig.control.objects.keys())
    shown = rig.ask("GET", "/api/v1/snapshot")
    assert shown.status == 200
    assert b"secret" not in shown.raw
    assert key.encode() not in shown.raw
    assert stored.sha256.encode() not in shown.raw
    providers = {provider["name"]: provider for provider in shown.json["providers"]}
    assert providers["p"]["api_key"] == "${P_KEY}"
    assert providers["p"]["headers"] == {"authorization": "***"}
    assert providers["q"]["api_key"] == "***"


def test_a_refused_reload_is_explained(rig: ControlRig) -> None:
    before = rig.ask("GET", "/api/v1/snapshot").json["generation"]
    assert rig.ask("POST", "/api/v1/reload").json["generation"] > before
    (rig.folder / "trimtab.toml").write_text("[gateway]\nprot = 1")
    answer = rig.ask("POST", "/api/v1/reload")
    assert (answer.status, answer.json["error"]["code"]) == (500, "config_invalid")
    assert "gateway.prot" in answer.json["error"]["message"]
    assert [entry["outcome"] for entry in rig.audit(action="config.reload")] == ["refused", "done"]


def test_health_tells_of_disk_log_and_counters(rig: ControlRig) -> None:
    health = rig.ask("GET", "/api/v1/health").json
    assert health["status"] == "degraded"  # no worker runs here
    assert 0 < health["disk"]["free_bytes"] < health["disk"]["total_bytes"]
    assert health["disk"]["used_bytes"] > 0
    assert health["ledger"] == {"files": 0, "bytes": 0}
    assert health["counters"]["unrecorded_closed"] == 0


CLOSED = [route for route in ROUTES if route.role is not None]


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: route.name)
def test_no_door_opens_without_the_token_or_to_a_foreign_page(rig: ControlRig, route: Any) -> None:
    generation = rig.ask("GET", "/api/v1/snapshot").json["generation"]
    entries = len(rig.audit())
    for headers, status in [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Bearer the-installations-toke"}, 401),
        ({"authorization": "Bearer the-installations-tokenn"}, 401),
        ({"authorization": "Basic the-installations-token"}, 401),
        ({"host": "evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"x-forwarded-for": "203.0.113.9"}, 401),
        ({"content-length": "3", "content-type": "text/plain"}, 415),
    ]:
        answer = rig.ask(
            route.method, route.path.replace("{id}", "x").replace("{name}", "x"), headers=headers
        )
        assert (answer.status, "error" in answer.json) == (status, True), headers
    assert rig.ask("GET", "/api/v1/snapshot").json["generation"] == generation
    assert len(rig.audit()) == entries


def test_healthz_needs_no_token(rig: ControlRig) -> None:
    assert rig.ask("GET", "/healthz", token="").status == 200


def test_beyond_loopback_the_token_alone_decides(tmp_path: Path) -> None:
    with ControlRig(tmp_path, bound_to_loopback=False) as rig:
        assert rig.ask("GET", "/api/v1/keys", headers={"host": "admin.example"}).status == 200
        assert rig.ask("GET", "/api/v1/keys", token="", headers={"host": "admin.example"}).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/api/v1/nothing", 404), ("PUT", "/api/v1/keys", 405)],
)
def test_what_is_not_there_is_said_in_the_same_shape(
    rig: ControlRig, method: str, path: str, status: int
) -> None:
    answer = rig.ask(method, path)
    assert (answer.status, answer.json["error"]["type"]) == (status, "invalid_request_error")
    assert ("allow" in answer.headers) == (status == 405)


def test_every_route_stands_in_the_reference() -> None:
    page = PAGE.read_text("utf-8")
    missing = [route.name for route in ROUTES if f"`{route.name}`" not in page]
    assert not missing, f"missing in {PAGE.name}; run: make admin-api-page"


def test_published_is_plain_json() -> None:
    assert json.loads(msgspec.json.encode(Published(generation=1, obeyed=False, waiting=("worker-1",)))) == {
        "generation": 1,
        "obeyed": False,
        "waiting": ["worker-1"],
        "notes": [],
    }
