"""Every operation of the OpenAPI document, as a viewer, an editor and an admin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.control import PASSWORD, ControlRig
from trimtab.access import permits
from trimtab.api import ROUTES, document

CONFIG = "[outbound]\nprivate_addresses = true\n"
OPERATIONS = [
    (method.upper(), path, operation)
    for path, operations in document(ROUTES)["paths"].items()
    for method, operation in operations.items()
]
BODIES: dict[str, dict[str, Any]] = {
    "create_key": {"name": "k"},
    "put_project": {"title": "t"},
    "put_provider": {"base_url": "http://127.0.0.1:9/v1"},
    "put_limit": {"requests_per_minute": 60},
    "put_budget": {"amount_usd": 1.5},
    "rotate_key": {"api_key": "sk-new"},
    "change_setting": {"value": "hash"},
    "create_view": {"name": "v", "query": "model=m"},
    "create_user": {"name": "new", "password": PASSWORD, "role": "admin"},
    "change_user": {"role": "admin", "disabled": False, "password": PASSWORD + "!"},
    "sign_in": {"name": "none", "password": "x"},
    "give_feedback": {"score": 1.0},
    "erase_calls": {"user": "u"},
    "put_rule": {"kind": "no_traffic"},
    "put_webhook": {"url": "https://localhost/", "format": "slack"},
    "post_backup": {"target": "/nowhere/at/all"},
}
NAMES = {
    "/users/": "target",
    "/projects/": "acme",
    "/providers/": "up",
    "/settings/": "data.payload",
    "/limits/": "x",
    "/budgets/": "x",
}
OF_ONESELF = {"sign_out", "change_password"}
"""Change what one signs in with, and nothing of anybody else."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ControlRig]:
    with ControlRig(tmp_path, CONFIG) as rig:
        assert rig.ask("PUT", "/api/v1/projects/acme", {}).status == 200
        made = rig.ask(
            "PUT", "/api/v1/providers/up", {"base_url": "http://127.0.0.1:9/v1", "api_key": "sk-old"}
        )
        assert made.status == 200, made
        yield rig


def where(path: str) -> str:
    name = next((name for part, name in NAMES.items() if part in path), "x")
    return path.replace("{name}", name).replace("{id}", "x")


def state(rig: ControlRig) -> list[object]:
    """All that anybody could change, but for the audit log."""

    def read(app: Any) -> list[object]:
        return [
            app.keys(), app.projects(), app.providers(), app.settings(), app.setting_changes(), app.users(),
            app.views(), app.routes(), app.limits(), app.budgets(),
            app.alert_rules(), app.webhooks(), app.alert_events(),
        ]  # fmt: skip

    held = rig.run(rig.stores.app(read))
    published = rig.run(rig.control.machine.snapshot())
    log = sorted(path.name for path in rig.layout.log.rglob("*"))
    return [*held, published, log]


def test_the_document_describes_every_route_and_no_other() -> None:
    assert {(method, path) for method, path, _ in OPERATIONS} == {(r.method, r.path) for r in ROUTES}
    for route in ROUTES:
        operation = document(ROUTES)["paths"][route.path][route.method.lower()]
        assert operation["x-trimtab-role"] == route.role
        assert ("requestBody" in operation) == (route.body is not None)
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert named == set(route.parameters)
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(ids) == len(set(ids))


def test_what_changes_takes_an_editor_and_users_secrets_and_erasure_an_admin() -> None:
    """The table itself: a viewer's routes only read, and what only an admin may is listed here by hand."""
    reads = {route.name for route in ROUTES if route.role == "viewer"} - {
        "POST /api/v1/logout",
        "POST /api/v1/me/password",
    }
    assert {name.split()[0] for name in reads} == {"GET"}
    assert {route.name for route in ROUTES if route.role == "admin"} == {
        "GET /api/v1/users",
        "POST /api/v1/users",
        "PATCH /api/v1/users/{name}",
        "DELETE /api/v1/users/{name}",
        "GET /api/v1/audit",
        "PUT /api/v1/providers/{name}/key",
        "PUT /api/v1/limits/{name}",
        "DELETE /api/v1/limits/{name}",
        "PUT /api/v1/budgets/{name}",
        "DELETE /api/v1/budgets/{name}",
        "POST /api/v1/calls/erase",
        "DELETE /api/v1/projects/{name}",
        "POST /api/v1/backup",
        "POST /api/v1/restart",
        "PUT /api/v1/webhooks/{name}",
        "DELETE /api/v1/webhooks/{name}",
        "POST /api/v1/demo",
    }
    assert {route.name for route in ROUTES if route.role is None} == {"GET /healthz", "POST /api/v1/login"}


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_no_operation_does_more_than_the_role_allows(rig: ControlRig, role: str) -> None:
    rig.user("target", "viewer")
    token = rig.user("somebody", role)
    for method, path, operation in OPERATIONS:
        needed, name = operation["x-trimtab-role"], operation["operationId"]
        if needed is None or name in OF_ONESELF or (role == "editor" and needed == "editor"):
            continue
        before, entries = state(rig), len(rig.audit())
        answer = rig.ask(method, where(path), BODIES.get(name), token=token)
        if permits(role, needed):
            assert answer.status in (200, 404), (name, answer)
        else:
            assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden"), name
            newest = rig.audit()[0]
            assert (newest["actor"], newest["outcome"]) == ("somebody", "refused")
            assert len(rig.audit()) == entries + 1
        assert state(rig) == before, name


@pytest.mark.parametrize("role", ["editor", "admin"])
def test_every_role_can_do_what_it_is_for(rig: ControlRig, role: str) -> None:
    rig.user("target", "viewer")
    token = rig.user("somebody", role)
    answered = {}
    for method, path, operation in sorted(OPERATIONS, key=lambda o: (o[0] == "DELETE", o[2]["operationId"])):
        needed, name = operation["x-trimtab-role"], operation["operationId"]
        if (
            needed is None
            or not permits(role, needed)
            or name in ("sign_out", "change_password", "erase_calls", "remove_project", "post_restart")
        ):
            continue  # the first two end the sign-in, the others need a recorder: tests/e2e has one
        answered[name] = rig.ask(method, where(path), BODIES.get(name), token=token).status
    refused = {name: status for name, status in answered.items() if status in (401, 403) or status >= 500}
    assert not refused
    assert {name for name, status in answered.items() if status >= 400} <= {
        "get_call",
        "get_trace",
        "give_feedback",
        "revoke_key",
        "remove_view",
        "post_backup",
        "test_webhook",
    }  # fmt: skip - no such id here


def test_an_editor_can_neither_give_nor_move_a_providers_key(rig: ControlRig) -> None:
    token = rig.user("ed", "editor")
    url = "/api/v1/providers/up"
    before = state(rig)
    for body in (
        {"base_url": "http://127.0.0.1:9/v1", "api_key": "sk-mine"},
        {"base_url": "http://127.0.0.1:9/v1", "api_key": ""},
    ):
        answer = rig.ask("PUT", url, body, token=token)
        assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")
        assert rig.audit()[0]["outcome"] == "refused"
    for body in ({"base_url": "http://127.0.0.1:10/v1"}, {"base_url": "https://[::1]:9/v1"}, {}):
        answer = rig.ask("PUT", url, body, token=token)
        assert answer.status == 400
        assert "enter it again" in answer.json["error"]["message"]
    assert state(rig) == before
    # What does not decide where the key goes is an editor's to change.
    assert (
        rig.ask("PUT", url, {"base_url": "http://127.0.0.1:9/v1", "models": ["m"]}, token=token).status == 200
    )
    assert rig.ask("GET", "/api/v1/providers", token=token).json["providers"][0]["key_set"]
    # And a provider without any key too.
    assert (
        rig.ask("PUT", "/api/v1/providers/new", {"base_url": "http://127.0.0.1:10"}, token=token).status
        == 200
    )


def test_a_role_that_changes_holds_at_once(rig: ControlRig) -> None:
    token = rig.user("ann", "editor")
    assert rig.ask("POST", "/api/v1/keys", {}, token=token).status == 201
    assert rig.ask("PATCH", "/api/v1/users/ANN", {"role": "viewer"}).status == 200
    assert rig.ask("POST", "/api/v1/keys", {}, token=token).status == 403
    assert rig.ask("PATCH", "/api/v1/users/ann", {"disabled": True}).status == 200
    assert rig.ask("GET", "/api/v1/keys", token=token).status == 401
    assert rig.ask("PATCH", "/api/v1/users/ann", {"disabled": False}).status == 200
    assert rig.ask("GET", "/api/v1/keys", token=token).status == 401  # the sign-in ended for good


def test_a_key_of_the_gateway_opens_nothing_here(rig: ControlRig) -> None:
    key = rig.ask("POST", "/api/v1/keys", {}).json["key"]
    assert rig.ask("GET", "/api/v1/keys", token=key).status == 401


def test_a_viewer_who_tries_a_thousand_times_fills_no_log(tmp_path: Path) -> None:
    with ControlRig(tmp_path) as rig:
        token = rig.user("vi", "viewer")
        for _ in range(1000):
            assert rig.ask("POST", "/api/v1/keys", {"name": "k"}, token=token).status == 403
        noted = rig.audit(actor="vi", action="key.create")
        assert [entry["detail"].get("times") for entry in noted] == [999, None]
        assert rig.audit(actor="vi", action="key.create") == noted
