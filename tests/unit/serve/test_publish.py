"""What the workers are to obey, made of file and store."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.access import make_key
from trimtab.config import Config, Own, load_config
from trimtab.serve.child.check import check_payload, check_snapshot
from trimtab.serve.control import with_store
from trimtab.serve.publish import declared, own_model
from trimtab.storage import AppStore, Move
from trimtab.storage.sqlite import open_app_store
from trimtab.types import ConfigError, Project, Release, new_id

FILE = """
[providers.p]
api_key = "${P_KEY}"
models = ["m"]
[routes.help]
model = "p/m"
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[AppStore]:
    store = open_app_store(tmp_path / "app.db")
    yield store
    store.close()


def config(tmp_path: Path, text: str = FILE) -> Config:
    path = tmp_path / "trimtab.toml"
    path.write_text(text)
    return load_config(path, env={"HOME": str(tmp_path), "P_KEY": "sk-secret"})


def move(app: AppStore, route: str, model: str) -> str:
    release = app.put_release(Release(model=model))
    app.move(
        Move(
            id=new_id(), at_us=1, project="default", route=route, channel="production",
            releases=((release, 1),), author="a", reason="r",
        )
    )  # fmt: skip
    return release


def test_no_secret_of_the_environment_is_published(tmp_path: Path, app: AppStore) -> None:
    snapshot = with_store(declared(config(tmp_path)), app)
    assert "sk-secret" not in repr(snapshot)
    assert [p.name for p in snapshot.providers] == ["p", "own"]
    assert snapshot.default_model == ""


def test_without_a_provider_the_own_model_answers_all(tmp_path: Path) -> None:
    snapshot = declared(config(tmp_path, ""))
    assert snapshot.default_model == "own/smollm2-135m-instruct"
    assert [p.models for p in snapshot.providers] == [("smollm2-135m-instruct",)]
    nothing = declared(config(tmp_path, "[own]\nenabled = false"))
    assert nothing.default_model == ""
    assert nothing.providers == ()


def test_the_own_model_is_named_by_setting_file_or_download() -> None:
    assert own_model(Own(model="x")) == "own/x"
    assert own_model(Own(model_path="/m/My Model.gguf")) == "own/my-model"
    assert own_model(Own()) == "own/smollm2-135m-instruct"


def test_generations_only_rise(tmp_path: Path, app: AppStore) -> None:
    base = declared(config(tmp_path))
    generations = [with_store(base, app).generation for _ in range(5)]
    assert generations == sorted(set(generations))


def test_the_file_owns_what_it_declares_and_the_store_adds(tmp_path: Path, app: AppStore) -> None:
    stored = move(app, "help", "own/x")
    other = move(app, "other", "own/y")
    snapshot = with_store(declared(config(tmp_path)), app)
    routes = {route.name: route for route in snapshot.routes}
    assert set(routes) == {"help", "other"}
    assert routes["help"].channels["production"][0].release != stored
    assert snapshot.releases[other].model == "own/y"


@pytest.mark.parametrize(
    ("of_file", "of_project", "of_key", "kept"),
    [
        ("full", "full", None, "full"),
        ("hash", "full", None, "hash"),
        ("full", "hash", None, "hash"),
        ("none", "hash", None, "none"),
        ("none", "none", "full", "full"),
    ],
)
def test_a_key_keeps_the_stricter_of_file_and_project(
    tmp_path: Path, app: AppStore, of_file: str, of_project: str, of_key: str | None, kept: str
) -> None:
    app.put_project(Project(name="p", payload=of_project))
    app.add_key(make_key(project="p", payload=of_key)[1])  # type: ignore[arg-type]
    (key,) = with_store(declared(config(tmp_path, f'[data]\npayload = "{of_file}"')), app).keys
    assert key.payload == kept


def test_a_revoked_key_is_not_published(tmp_path: Path, app: AppStore) -> None:
    spec = make_key()[1]
    app.add_key(spec)
    base = declared(config(tmp_path))
    assert [k.id for k in with_store(base, app).keys] == [spec.id]
    app.revoke_key(spec.id)
    assert with_store(base, app).keys == ()


@pytest.mark.parametrize("content", [None, b"{", b"[1]"])
def test_a_catalog_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"catalog\.file: .*c\.json"):
        declared(config(tmp_path, '[catalog]\nfile = "c.json"'))


async def check(tmp_path: Path, text: str) -> None:
    await check_snapshot(declared(config(tmp_path, text)), tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[providers.p]\nkind = 'nonesuch'", r"providers\.p: .*nonesuch"),
        (
            "[providers.p]\napi_key = '${GONE}'",
            r"providers\.p: api_key: environment variable GONE is not set",
        ),
        ("[data]\npayload = 'masked'", "masked"),
        ('[catalog]\nfile = "bad.json"', "catalog"),
    ],
)
def test_what_no_worker_could_obey_is_refused_before_it_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setenv("P_KEY", "sk")
    (tmp_path / "bad.json").write_text('{"format": 1, "nonsense": 3}')
    asyncio.run(check(tmp_path, FILE))
    with pytest.raises(ConfigError, match=said):
        asyncio.run(check(tmp_path, text))


def test_payload_policies_are_checked() -> None:
    check_payload("hash")
    with pytest.raises(ConfigError):
        check_payload("masked")
