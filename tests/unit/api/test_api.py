"""The admin API over a control process kept in memory."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trimtab.access import KeyRing
from trimtab.api import Published, make_api
from trimtab.api.app import ROUTES
from trimtab.storage import CallQuery
from trimtab.types import (
    Call,
    Closed,
    ConfigError,
    KeySpec,
    NotFound,
    Opened,
    Project,
    ProviderSpec,
    Release,
    RouteSpec,
    Snapshot,
    TargetSpec,
    Usage,
    WeightedRelease,
    new_id,
)

TOKEN = "the-token"
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "admin-api.md"


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


class Room:
    """A control process without processes."""

    def __init__(self) -> None:
        self.stored: dict[str, KeySpec] = {}
        self.calls = [a_call()]
        self.queries: list[tuple[CallQuery, bool]] = []
        self.published = Published(generation=7, obeyed=True)
        self.refuse: ConfigError | None = None
        release = Release(model="p/m")
        self.held = Snapshot(
            generation=7,
            providers=(
                ProviderSpec(
                    name="p",
                    api_key="${P_KEY}",
                    models=("m",),
                    headers={"authorization": "secret-header"},
                    proxy="http://user:secret-proxy@proxy:3128",
                    options={"token": "secret-option"},
                ),
                ProviderSpec(name="q", api_key="secret-literal", base_url="http://secret-user@h/v1"),
                ProviderSpec(name="r", api_key="${R_KEY:-secret-default}", models=("m",)),
                ProviderSpec(name="openai", api_key=""),
            ),
            targets={"p/alias": (TargetSpec(provider="p", model="m"),)},
            routes=(
                RouteSpec(name="help", channels={"production": (WeightedRelease(release=release.id()),)}),
            ),
            releases={release.id(): release},
            keys=(KeySpec(id="key_1", sha256="5ec2e7" * 10),),
        )

    async def health(self) -> dict[str, Any]:
        return {"status": "ok"}

    async def keys(self) -> list[KeySpec]:
        return list(self.stored.values())

    async def add_key(self, key: KeySpec) -> Published:
        if key.project != "default":
            raise NotFound(f"there is no project {key.project!r}", param="project")
        self.stored[key.id] = key
        return self.published

    async def revoke_key(self, key_id: str) -> Published | None:
        return self.published if self.stored.pop(key_id, None) else None

    async def projects(self) -> list[Project]:
        return [Project()]

    async def find_calls(self, query: CallQuery, *, payload: bool) -> list[Call]:
        self.queries.append((query, payload))
        return self.calls[: query.limit]

    async def call(self, call_id: str) -> Call | None:
        return next((call for call in self.calls if call.id == call_id), None)

    async def snapshot(self) -> Snapshot:
        return self.held

    async def reload(self) -> Published:
        if self.refuse:
            raise self.refuse
        return self.published


class Client:
    def __init__(self, room: Room, *, bound_to_loopback: bool = True) -> None:
        self.app = make_api(room, TOKEN, bound_to_loopback=bound_to_loopback)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, Any, bytes]:
        given = {"host": "127.0.0.1:8401", "authorization": f"Bearer {TOKEN}"}
        if body:
            given |= {"content-type": "application/json", "content-length": str(len(body))}
        given |= headers or {}
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in given.items()], "http_version": "1.1",
            "scheme": "http", "server": ("127.0.0.1", 8401), "client": ("127.0.0.1", 1), "root_path": "",
        }  # fmt: skip
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        raw = b"".join(m.get("body", b"") for m in sent[1:])
        return sent[0]["status"], json.loads(raw) if raw else None, raw


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def client(room: Room) -> Client:
    return Client(room)


def test_keys_are_made_shown_once_and_revoked(room: Room, client: Client) -> None:
    status, made, _ = client.ask("POST", "/api/v1/keys", b'{"name":"app","payload":"hash"}')
    assert status == 201
    assert made["published"] == {"generation": 7, "obeyed": True, "waiting": [], "notes": []}
    (stored,) = room.stored.values()
    assert KeyRing([stored]).check(made["key"].encode()) == stored
    assert (made["id"], made["name"], made["project"], made["payload"]) == (
        stored.id,
        "app",
        "default",
        "hash",
    )
    status, listed, raw = client.ask("GET", "/api/v1/keys")
    assert [key["id"] for key in listed["keys"]] == [made["id"]]
    assert made["key"].encode() not in raw
    assert stored.sha256.encode() not in raw
    assert client.ask("DELETE", f"/api/v1/keys/{made['id']}")[:2][0] == 200
    status, gone, _ = client.ask("DELETE", f"/api/v1/keys/{made['id']}")
    assert (status, gone["error"]["code"]) == (404, "not_found")


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
def test_bodies_are_checked(client: Client, body: bytes, status: int) -> None:
    got, answer, _ = client.ask("POST", "/api/v1/keys", body)
    assert got == status
    if status != 201:
        assert set(answer["error"]) == {"message", "type", "param", "code"}


def test_calls_are_filtered_and_paged(room: Room, client: Client) -> None:
    status, found, _ = client.ask("GET", "/api/v1/calls?model=p/m&since_us=5&limit=1&state=ok&payload=1")
    assert status == 200
    assert room.queries == [(CallQuery(model="p/m", since_us=5, limit=1, state="ok"), True)]
    (call,) = found["calls"]
    assert found["before"] == room.calls[0].id
    assert call["opened"]["request"] == {"model": "m"}
    assert call["closed"]["response"] == {"x": 1}
    assert call["closed"]["usage"]["input_tokens"] == 3
    assert call["latency_ms"] == 250.0
    status, found, _ = client.ask("GET", "/api/v1/calls")
    assert found["calls"][0]["opened"]["request"] is None
    assert found["before"] is None


@pytest.mark.parametrize(
    "query", ["nonsense=1", "limit=0", "limit=9999", "limit=x", "state=good", "since_us=x"]
)
def test_unusable_filters_are_named(client: Client, query: str) -> None:
    status, answer, _ = client.ask("GET", f"/api/v1/calls?{query}")
    assert (status, answer["error"]["code"]) == (400, "invalid_request")


def test_one_call_is_shown_whole(room: Room, client: Client) -> None:
    status, call, _ = client.ask("GET", f"/api/v1/calls/{room.calls[0].id}")
    assert (status, call["opened"]["request"]) == (200, {"model": "m"})
    assert client.ask("GET", f"/api/v1/calls/{new_id()}")[0] == 404


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
    room: Room, client: Client, kept: bytes, policy: str, shown: object
) -> None:
    room.calls = [a_call(kept, policy)]
    assert client.ask("GET", f"/api/v1/calls/{room.calls[0].id}")[1]["opened"]["request"] == shown


def test_models_are_listed_with_what_is_known_of_them(client: Client) -> None:
    status, found, _ = client.ask("GET", "/api/v1/models")
    assert status == 200
    rows = {row["id"]: row for row in found["models"]}
    assert {"p/m", "p/alias", "r/m", "route/help"} <= set(rows)
    assert rows["route/help"]["routes_to"] == ["p/m"]
    # A provider that lists nothing stands with what the catalog knows of it.
    assert any(name.startswith("openai/") and row["input_nusd"] for name, row in rows.items())


def test_no_secret_is_in_the_snapshot_shown(client: Client) -> None:
    status, shown, raw = client.ask("GET", "/api/v1/snapshot")
    assert status == 200
    assert b"secret" not in raw
    assert b"5ec2e7" not in raw
    assert shown["generation"] == 7
    assert shown["providers"][0]["api_key"] == "${P_KEY}"
    assert shown["providers"][0]["headers"] == {"authorization": "***"}
    assert shown["providers"][1]["api_key"] == "***"


def test_a_refused_reload_is_explained(room: Room, client: Client) -> None:
    assert client.ask("POST", "/api/v1/reload")[1]["generation"] == 7
    room.refuse = ConfigError("x.toml: gateway.prot: unknown key")
    status, answer, _ = client.ask("POST", "/api/v1/reload")
    assert (status, answer["error"]["code"]) == (500, "config_invalid")
    assert "gateway.prot" in answer["error"]["message"]


def test_projects_and_health(client: Client) -> None:
    assert client.ask("GET", "/api/v1/projects")[1] == {"projects": [{"name": "default", "payload": "full"}]}
    assert client.ask("GET", "/api/v1/health")[1] == {"status": "ok"}


ADMIN = [(method, path.replace("{id}", "x")) for method, path, _ in ROUTES if path != "/healthz"]


@pytest.mark.parametrize(("method", "path"), ADMIN)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Bearer the-toke"}, 401),
        ({"authorization": "Bearer the-tokenn"}, 401),
        ({"authorization": "Basic the-token"}, 401),
        ({"host": "evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"x-forwarded-for": "203.0.113.9"}, 401),
        ({"content-length": "3", "content-type": "text/plain"}, 415),
    ],
)
def test_no_door_opens_without_the_token_or_to_a_foreign_page(
    room: Room, client: Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    got, answer, _ = client.ask(method, path, headers=headers)
    assert got == status
    assert "error" in answer
    assert room.stored == {}
    assert room.queries == []


def test_healthz_needs_no_token(client: Client) -> None:
    assert client.ask("GET", "/healthz", headers={"authorization": ""})[0] == 200


def test_beyond_loopback_the_token_alone_decides(room: Room) -> None:
    client = Client(room, bound_to_loopback=False)
    assert client.ask("GET", "/api/v1/keys", headers={"host": "admin.example"})[0] == 200
    assert client.ask("GET", "/api/v1/keys", headers={"host": "admin.example", "authorization": ""})[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/api/v1/nothing", 404), ("PUT", "/api/v1/keys", 405)],
)
def test_what_is_not_there_is_said_in_the_same_shape(
    client: Client, method: str, path: str, status: int
) -> None:
    got, answer, _ = client.ask(method, path)
    assert (got, answer["error"]["type"]) == (status, "invalid_request_error")


def test_every_route_stands_in_the_reference() -> None:
    page = PAGE.read_text("utf-8")
    for method, path, _ in ROUTES:
        assert f"`{method} {path}`" in page, f"{method} {path} is missing in {PAGE.name}"


def test_published_is_plain_json() -> None:
    assert json.loads(msgspec.json.encode(Published(generation=1, obeyed=False, waiting=("worker-1",)))) == {
        "generation": 1,
        "obeyed": False,
        "waiting": ["worker-1"],
        "notes": [],
    }
