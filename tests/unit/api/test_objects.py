"""Keys, projects, providers, settings and views over the API."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rigs.control import ControlRig
from trimtab.providers import ProviderContext
from trimtab.serve.secretfile import make_seal, unsealer
from trimtab.testing import FakeServer
from trimtab.types import ConfigError

SECRET = "sk-planted-0123456789abcdef-WXYZ"
FILE = """
[providers.declared]
api_key = "${DECLARED}"
base_url = "http://127.0.0.1:9/v1"
[retry]
attempts = 2
"""
CONSENT = "[outbound]\nprivate_addresses = true\n"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlRig]:
    monkeypatch.setenv("DECLARED", "sk-declared-0123456789")
    with ControlRig(tmp_path, FILE + CONSENT) as rig:
        yield rig


@pytest.fixture
def strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlRig]:
    """Without the file's consent to private addresses."""
    monkeypatch.setenv("DECLARED", "sk-declared-0123456789")
    with ControlRig(tmp_path, FILE) as rig:
        yield rig


def put(rig: ControlRig, name: str = "up", **fields: Any) -> Any:
    return rig.ask("PUT", f"/api/v1/providers/{name}", {"base_url": "http://127.0.0.1:9/v1"} | fields)


def published(rig: ControlRig, name: str = "up") -> Any:
    snapshot = rig.run(rig.control.machine.snapshot())
    return next(spec for spec in snapshot.providers if spec.name == name)


# --- providers ----------------------------------------------------------------------------------------------


def test_a_key_is_sealed_everywhere_and_opened_where_it_is_used(rig: ControlRig) -> None:
    assert put(rig, api_key=SECRET, models=["m"]).status == 200
    spec = published(rig)
    assert spec.api_key.startswith("sealed:v1:")
    assert spec.reach == "private"
    context = ProviderContext(unseal=unsealer(rig.layout.secret))
    assert context.secret(spec) == SECRET
    with pytest.raises(ConfigError, match="nothing to open it with"):
        ProviderContext().secret(spec)
    for path in rig.folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    row = next(row for row in rig.ask("GET", "/api/v1/providers").json["providers"] if row["name"] == "up")
    assert (row["owner"], row["key_set"], row["key_hint"]) == ("store", True, "…WXYZ")
    assert row["rotated_us"] > 0


def test_a_short_key_shows_nothing_of_itself_and_the_files_its_reference(rig: ControlRig) -> None:
    put(rig, api_key="sk-short")
    rows = {row["name"]: row for row in rig.ask("GET", "/api/v1/providers").json["providers"]}
    assert rows["up"]["key_hint"] == ""
    assert (rows["declared"]["owner"], rows["declared"]["key_hint"]) == ("file", "${DECLARED}")


def test_a_key_is_rotated_kept_and_removed(rig: ControlRig) -> None:
    put(rig, api_key=SECRET, headers={"x-team": "a"})
    first = published(rig)
    assert put(rig, models=["m"], headers={"x-team": "a"}).status == 200
    assert published(rig).api_key == first.api_key
    assert rig.ask("PUT", "/api/v1/providers/up/key", {"api_key": SECRET + "2"}).status == 200
    spec = published(rig)
    assert ProviderContext(unseal=unsealer(rig.layout.secret)).secret(spec) == SECRET + "2"
    assert (spec.models, spec.headers) == (("m",), {"x-team": "a"})
    assert rig.ask("PUT", "/api/v1/providers/up/key", {"api_key": ""}).status == 200
    assert published(rig).api_key == ""
    details = [entry["detail"].get("api_key") for entry in rig.audit(action="provider.")]
    assert details == ["removed", "set", None, "set"]
    assert SECRET not in str(rig.audit())
    assert rig.ask("PUT", "/api/v1/providers/none/key", {"api_key": SECRET}).status == 404
    assert rig.ask("PUT", "/api/v1/providers/declared/key", {"api_key": SECRET}).status == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "own"}, {"name": "route"}, {"name": "-x"}, {"name": "a b"}, {"name": "declared"},
        {"kind": "nonesuch"}, {"base_url": "ftp://h/v1"}, {"base_url": "https://user:pw@[::1]/v1"},
        {"base_url": "https://[::1]/v1?key=1"}, {"base_url": "nonsense"}, {"base_url": "https://[::1/v1"},
        {"base_url": "http://127.0.0.1:99999/v1"}, {"api_key": "two words"}, {"api_key": "a\nb"}, {"api_key": "鍵"},
        {"api_key": "${OPENAI_API_KEY}"}, {"headers": {"authorization": "Bearer x"}}, {"headers": {"X-Api-Key": "x"}},
        {"headers": {"cookie": "x"}}, {"headers": {"x": "${HOME}"}}, {"headers": {"x": "$${HOME}"}},
        {"headers": {"a b": "x"}}, {"headers": {"x": "a\r\nb: c"}}, {"headers": {"Host": "x"}},
        {"headers": {"Transfer-Encoding": "chunked"}}, {"proxy": "http://127.0.0.1:3128"}, {"ca_file": "/etc/passwd"},
        {"reach": "any"}, {"models": [""]}, {"models": ["a\nb"]}, {"models": ["m" * 201]}, {"max_connections": 0},
        {"deadlines": {"connect_s": 0}}, {"deadlines": {"total_s": 1e9}}, {"deadlines": {"nonsense": 1}},
    ],
    ids=str,
)  # fmt: skip
def test_providers_are_checked(rig: ControlRig, fields: dict[str, Any]) -> None:
    before = rig.run(rig.control.machine.snapshot())
    name = fields.pop("name", "up")
    answer = rig.ask("PUT", f"/api/v1/providers/{name}", {"base_url": "http://127.0.0.1:9/v1"} | fields)
    assert answer.status == 400, answer
    for secret in ("two words", "pw"):
        assert secret not in answer.json["error"]["message"]
    assert rig.run(rig.control.machine.snapshot()) == before


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/v1", "http://127.0.0.1:8400/v1", "http://localhost:8401/api/v1", "https://[::1]/v1",
        "https://[::ffff:127.0.0.1]/v1", "https://[::ffff:a9fe:a9fe]/v1", "http://169.254.169.254/latest",
        "https://169.254.169.254/latest", "https://10.0.0.1/v1", "https://192.168.1.1/v1", "https://172.16.0.1/v1",
        "https://100.64.1.1/v1", "https://[fd00:ec2::254]/v1", "https://0.0.0.0/v1", "https://[::]/v1",
        "http://8.8.8.8/v1",
    ],
)  # fmt: skip
def test_without_consent_no_address_of_this_machine_or_its_network(
    strict: ControlRig, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    answer = lookup(strict, {}, url)
    assert answer.status == 400
    assert answer.json["error"]["param"] == "base_url"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("2130706433", "127.0.0.1"), ("0x7f000001", "127.0.0.1"), ("0177.1", "127.0.0.1"), ("127.1", "127.0.0.1"),
        ("inside.example", "10.2.3.4"), ("metadata.google.internal", "169.254.169.254"),
        ("127.0.0.1.nip.example", "127.0.0.1"), ("v6.example", "fd00::1"), ("both.example", "8.8.8.8,10.0.0.1"),
    ],
)  # fmt: skip
def test_without_consent_no_name_that_leads_inside(strict: ControlRig, host: str, address: str) -> None:
    answer = lookup(strict, {host: address.split(",")}, f"https://{host}/v1")
    assert answer.status == 400
    assert "address" in answer.json["error"]["message"]


def test_a_public_name_is_taken_and_screened_again_at_every_connection(strict: ControlRig) -> None:
    answer = lookup(strict, {"api.example": ["8.8.8.8"]}, "https://api.example/v1")
    assert answer.status == 200
    assert published(strict).reach == "public"
    assert lookup(strict, {}, "https://unknown.example/v1").status == 400
    # Between entry and use the name was pointed elsewhere.
    with resolving(strict, {"api.example": ["127.0.0.1"]}):
        tested = strict.ask("POST", "/api/v1/providers/up/test").json
    assert (tested["ok"], tested["error_code"]) == (False, "provider_address_refused")


def test_metadata_stays_closed_with_consent_too(rig: ControlRig) -> None:
    assert lookup(rig, {}, "https://169.254.169.254/v1").status == 400
    assert lookup(rig, {}, "http://10.0.0.1/v1").status == 400  # not encrypted, and not loopback
    assert lookup(rig, {}, "https://10.0.0.1/v1").status == 200


class resolving:
    """Gives the rig's loop a resolver of our own, for a block."""

    def __init__(self, rig: ControlRig, names: dict[str, list[str]]) -> None:
        self.loop = rig._runner.get_loop()
        self.names = names

    def __enter__(self) -> None:
        import socket

        async def getaddrinfo(host: str, port: int, **_more: object) -> list[Any]:
            literal = re.fullmatch(r"[0-9.]+|[0-9a-f:.]*:[0-9a-f:.]*", host)
            found = self.names.get(host) or ([host] if literal else None)
            if found is None:
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

        self.loop.getaddrinfo = getaddrinfo

    def __exit__(self, *_: object) -> None:
        del self.loop.getaddrinfo


def lookup(rig: ControlRig, names: dict[str, list[str]], url: str) -> Any:
    with resolving(rig, names | {"localhost": ["127.0.0.1"]}):
        return put(rig, base_url=url)


def test_a_provider_is_tested_and_its_failure_is_data(rig: ControlRig) -> None:
    with FakeServer() as server:
        assert put(rig, base_url=server.base_url, api_key=SECRET).status == 200
        tested = rig.ask("POST", "/api/v1/providers/up/test")
        assert tested.status == 200
        assert (tested.json["ok"], tested.json["error_code"]) == (True, "")
        assert tested.json["models"]
    tested = rig.ask("POST", "/api/v1/providers/up/test").json
    assert (tested["ok"], tested["error_code"]) == (False, "provider_unreachable")
    assert rig.ask("POST", "/api/v1/providers/none/test").status == 404
    assert rig.audit(action="provider.test")[0]["detail"] == {
        "ok": False,
        "error_code": "provider_unreachable",
    }


def test_a_provider_that_repeats_its_key_shows_it_to_nobody(rig: ControlRig) -> None:
    import socket
    import threading

    def serve(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            sent = link.recv(65536)
            body = b'{"error": {"message": "bad key: ' + re.findall(rb"Bearer (\S+)", sent)[0] + b'"}}'
            link.sendall(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        put(rig, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", api_key=SECRET)
        tested = rig.ask("POST", "/api/v1/providers/up/test")
        thread.join()
    assert tested.json["error_code"] == "provider_auth_failed"
    assert SECRET.encode() not in tested.raw
    assert SECRET not in str(rig.audit())


def test_the_files_providers_cannot_be_touched(rig: ControlRig) -> None:
    assert rig.ask("DELETE", "/api/v1/providers/declared").status == 400
    assert rig.ask("DELETE", "/api/v1/providers/none").status == 404
    put(rig)
    assert rig.ask("DELETE", "/api/v1/providers/up").status == 200
    assert [spec.name for spec in rig.run(rig.control.machine.snapshot()).providers] == ["declared"]


def test_when_the_file_comes_to_declare_a_provider_the_files_wins(rig: ControlRig) -> None:
    put(rig, "later", api_key=SECRET)
    (rig.folder / "trimtab.toml").write_text(FILE + '[providers.later]\nbase_url = "http://127.0.0.1:7/v1"\n')
    assert rig.ask("POST", "/api/v1/reload").status == 200
    spec = published(rig, "later")
    assert (spec.reach, spec.api_key, spec.base_url) == ("any", "", "http://127.0.0.1:7/v1")
    rows = [row for row in rig.ask("GET", "/api/v1/providers").json["providers"] if row["name"] == "later"]
    assert [row["owner"] for row in rows] == ["file"]


def test_withdrawn_consent_holds_for_what_was_added_before(rig: ControlRig) -> None:
    put(rig)
    (rig.folder / "trimtab.toml").write_text(FILE)
    assert rig.ask("POST", "/api/v1/reload").status == 200
    assert published(rig).reach == "public"
    assert rig.ask("POST", "/api/v1/providers/up/test").json["error_code"] == "provider_address_refused"


def test_a_lost_secret_file_stops_nothing_but_its_keys(rig: ControlRig, tmp_path: Path) -> None:
    put(rig, api_key=SECRET)
    rig.__exit__(None, None, None)
    rig.layout.secret.unlink()
    with ControlRig(tmp_path, FILE + CONSENT) as again:
        assert published(again).api_key == ""
        assert again.ask("POST", "/api/v1/keys", {}).status == 201
        assert again.ask("PUT", "/api/v1/providers/up/key", {"api_key": SECRET}).status == 200
        assert published(again).api_key.startswith("sealed:")
        rig._stack = again._stack  # closed by the fixture


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret.key"
    make_seal(path)
    assert path.stat().st_mode & 0o777 == 0o600
    kept = path.read_bytes()
    make_seal(path)
    assert path.read_bytes() == kept
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        make_seal(path)


def test_a_damaged_secret_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    make_seal(path)
    path.write_bytes(b"c2hvcnQ=\n")
    with pytest.raises(ConfigError, match="damaged"):
        make_seal(path)


# --- settings -----------------------------------------------------------------------------------------------


def setting(rig: ControlRig, name: str) -> dict[str, Any]:
    return next(row for row in rig.ask("GET", "/api/v1/settings").json["settings"] if row["name"] == name)


@pytest.mark.parametrize(
    ("name", "value", "shown", "held"),
    [
        ("data.payload", "hash", "hash", lambda p: p.payload == "hash"),
        ("access.open", "false", "false", lambda p: p.open_access is False),
        ("access.open", "0", "false", lambda p: p.open_access is False),
        ("data.on_ledger_failure", "serve", "serve", lambda p: p.on_ledger_failure == "serve"),
        ("deadlines.connect_s", "2.5", "2.5", lambda p: p.deadlines.connect_s == 2.5),
        ("retry.backoff_s", "1", "1", lambda p: p.retry.backoff_s == 1.0),
    ],
)
def test_a_setting_is_changed_and_goes_back(
    rig: ControlRig, name: str, value: str, shown: str, held: Any
) -> None:
    before = setting(rig, name)
    assert rig.ask("PUT", f"/api/v1/settings/{name}", {"value": value}).status == 200
    assert held(rig.run(rig.control.machine.snapshot()).policy)
    after = setting(rig, name)
    assert (after["value"], after["owner"]) == (shown, "store")
    assert rig.ask("PUT", f"/api/v1/settings/{name}", {"value": ""}).status == 200
    assert setting(rig, name) == before
    assert before["owner"] == "default"
    assert before["value"] == before["default"]
    changes = rig.ask("GET", "/api/v1/settings/changes").json["changes"]
    assert [(c["before"], c["after"], c["actor"]) for c in changes] == [
        (shown, "", "admin-token"), ("", shown, "admin-token"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("retry.attempts", "5", 400),  # the file sets it
        ("retry.backoff_s", "100", 400),  # above backoff_max_s
        ("deadlines.connect_s", "0", 400),
        ("deadlines.connect_s", "nan", 400),
        ("deadlines.connect_s", "soon", 400),
        ("data.payload", "masked", 400),
        ("data.payload", "some", 400),
        ("access.open", "perhaps", 400),
        ("gateway.port", "1", 404),
        ("outbound.private_addresses", "true", 404),
        ("nonsense", "1", 404),
    ],
)
def test_settings_are_checked(rig: ControlRig, name: str, value: str, status: int) -> None:
    before = rig.run(rig.control.machine.snapshot())
    assert rig.ask("PUT", f"/api/v1/settings/{name}", {"value": value}).status == status
    assert rig.run(rig.control.machine.snapshot()) == before


def test_the_files_settings_win_over_the_stores(rig: ControlRig) -> None:
    rig.ask("PUT", "/api/v1/settings/data.payload", {"value": "hash"})
    (rig.folder / "trimtab.toml").write_text(FILE + '[data]\npayload = "none"\n')
    assert rig.ask("POST", "/api/v1/reload").status == 200
    assert rig.run(rig.control.machine.snapshot()).policy.payload == "none"
    assert (setting(rig, "data.payload")["value"], setting(rig, "data.payload")["owner"]) == ("none", "file")


def test_a_stored_setting_that_cannot_be_used_any_more_is_left_out(rig: ControlRig) -> None:
    rig.run(rig.stores.app(lambda app: app.put_setting("deadlines.idle_s", "long")))
    assert rig.ask("POST", "/api/v1/keys", {}).status == 201
    assert setting(rig, "deadlines.idle_s")["value"] == "60"


# --- projects, keys and views -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fields", "status"),
    [
        ("acme", {}, 200), ("acme", {"payload": "hash", "title": "Acme", "retention_days": 30}, 200),
        ("default", {"payload": "none"}, 200), ("-a", {}, 400), ("a" * 65, {}, 400), ("a%20b", {}, 400),
        ("acme", {"payload": "masked"}, 400), ("acme", {"payload": "x"}, 400), ("acme", {"retention_days": -1}, 400),
        ("acme", {"title": "a\x1b[31m"}, 400), ("acme", {"created_us": 5}, 400),
    ],
)  # fmt: skip
def test_projects_are_checked(rig: ControlRig, name: str, fields: dict[str, Any], status: int) -> None:
    assert rig.ask("PUT", f"/api/v1/projects/{name}", fields).status == status


def test_a_projects_policy_reaches_its_keys(rig: ControlRig) -> None:
    rig.ask("PUT", "/api/v1/projects/acme", {"payload": "hash"})
    made = rig.ask("POST", "/api/v1/keys", {"project": "acme"}).json["project"]
    assert made == "acme"
    (key,) = rig.run(rig.control.machine.snapshot()).keys
    assert key.payload == "hash"
    created = [p["created_us"] for p in rig.ask("GET", "/api/v1/projects").json["projects"]]
    rig.ask("PUT", "/api/v1/projects/acme", {"payload": "none"})
    assert [p["created_us"] for p in rig.ask("GET", "/api/v1/projects").json["projects"]] == created
    assert rig.audit(action="project.")[0]["detail"] == {"payload": ["hash", "none"]}
    assert rig.ask("DELETE", "/api/v1/projects/default").status == 400
    assert rig.ask("DELETE", "/api/v1/projects/none").status == 404


@pytest.mark.parametrize("name", ["a\x1b]0;x\x07", "a\nb", "x" * 129, "\x9b31m"])
def test_names_of_keys_command_no_terminal(rig: ControlRig, name: str) -> None:
    assert rig.ask("POST", "/api/v1/keys", {"name": name}).status == 400


def test_views_are_their_owners(rig: ControlRig) -> None:
    ann, bob = rig.user("ann", "editor"), rig.user("bob", "editor")
    made = rig.ask("POST", "/api/v1/views", {"name": "slow", "query": "state=error&model=a/"}, token=ann)
    assert (made.status, made.json["owner"]) == (201, "ann")
    assert rig.ask("POST", "/api/v1/views", {"name": "x", "query": "nonsense=1"}, token=ann).status == 400
    url = f"/api/v1/views/{made.json['id']}"
    assert rig.ask("DELETE", url, token=bob).status == 403
    assert rig.audit(action="view.remove")[0]["outcome"] == "refused"
    assert rig.ask("DELETE", url, token=ann).status == 200
    assert rig.ask("DELETE", url, token=ann).status == 404
    other = rig.ask("POST", "/api/v1/views", {"name": "slow", "query": ""}, token=bob).json["id"]
    assert rig.ask("DELETE", f"/api/v1/views/{other}").status == 200  # an admin


def test_a_change_and_its_entry_are_one(rig: ControlRig) -> None:
    """Where the audit log cannot be written, nothing is changed."""

    def close_log(app: Any) -> None:
        app._connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
        )

    rig.run(rig.stores.app(close_log))
    answer = rig.ask("POST", "/api/v1/keys", {"name": "x"})
    assert (answer.status, answer.json["error"]["code"]) == (500, "storage_error")
    assert rig.ask("GET", "/api/v1/keys").json["keys"] == []


def test_what_is_published_is_what_is_stored(rig: ControlRig) -> None:
    """The snapshot file's parts hold no plain key, and decode to what `snapshot` returns."""
    put(rig, api_key=SECRET)
    raw = msgspec.json.encode(rig.run(rig.control.machine.snapshot()))
    assert SECRET.encode() not in raw
    assert b"sk-declared" not in raw


def test_after_removal_says_who_would_answer(rig: ControlRig) -> None:
    """The file's open-ended provider takes every name that nobody else does."""

    def moved(name: str) -> list[tuple[str, str]]:
        answer = rig.ask("GET", f"/api/v1/providers/{name}/after-removal")
        assert answer.status == 200, answer
        return [(row["name"], row["goes_to"]) for row in answer.json["moved"]]

    assert put(rig, models=["m", "n"]).status == 200
    assert moved("up") == [
        ("up/m", "declared/up/m"), ("up/n", "declared/up/n"), ("m", "declared/m"), ("n", "declared/n"),
    ]  # fmt: skip
    assert put(rig, models=[]).status == 200
    assert moved("up") == [("up/…", "declared/up/…")]
    assert rig.ask("GET", "/api/v1/providers/none/after-removal").status == 404


def test_a_test_tells_what_was_tried_and_no_secret(rig: ControlRig) -> None:
    put(rig, api_key=SECRET, headers={"x-team": "quite-private"})
    answer = rig.ask("POST", "/api/v1/providers/up/test").json
    assert not answer["ok"]
    assert answer["asked"] == f"GET {published(rig).base_url}/models"
    assert answer["sent"] == ["Authorization", "x-team"]
    assert answer["patience_s"] == 10.0
    assert SECRET not in str(answer)
    assert "quite-private" not in str(answer)
