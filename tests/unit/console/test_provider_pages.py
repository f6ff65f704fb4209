"""Providers and models."""

import html

import msgspec
import pytest

from trimtab.types import Deadlines, Snapshot


def test_a_provider_is_added_and_its_key_is_shown_nowhere(admin, control):
    fields = {
        "name": "lab", "kind": "openai", "base_url": "https://llm.example.org/v1", "api_key": "sk-very-secret-1234",
        "models": "small\n large, small\n",
    }  # fmt: skip
    page = admin.post("/providers/-/new", fields)
    assert page.headers["location"] == "/providers/lab?done=provider_added"
    row = control.objects._providers["lab"]
    assert (row.models, row.key_set, row.owner) == (("small", "large"), True, "store")
    for path in ("/providers", "/providers/lab", "/audit", "/health"):
        assert "very-secret" not in admin.get(path).text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "openai"}, "already"),
        ({"name": "a/b"}, "letters"),
        ({"base_url": "ftp://x"}, "begins with https"),
        ({"base_url": "http://169.254.169.254/latest"}, "private network"),
        ({"kind": "soap"}, "Choose"),
    ],
)
def test_a_provider_that_cannot_be_is_not_added(admin, control, changes, said):
    fields = {"name": "lab", "kind": "openai", "base_url": "https://llm.example.org/v1", "models": ""}
    before = dict(control.objects._providers)
    page = admin.post("/providers/-/new", fields | changes)
    assert page.status == 422
    assert said in page.words
    assert control.objects._providers == before


def test_what_the_file_declares_is_read_only(admin, control):
    page = admin.get("/providers/openai")
    assert "read-only" in page.words
    assert 'action="/providers/openai"' not in page.text.replace("&#x2f;", "/")
    fields = {"kind": "openai", "base_url": "https://elsewhere.example.org", "models": ""}
    before = control.objects._providers["openai"]
    for path, sent in (("", fields), ("/key", {"api_key": "sk-x"}), ("/remove", {"typed_name": "openai"})):
        assert admin.post(f"/providers/openai{path}", sent).status == 400
    assert control.objects._providers["openai"] == before


def test_a_key_is_rotated_and_the_rest_stays(admin, control):
    before = control.objects._providers["anthropic"]
    assert admin.post("/providers/anthropic/key", {"api_key": ""}).status == 422
    assert admin.post("/providers/anthropic/key", {"api_key": "sk-another-key-9876"}).status == 303
    after = control.objects._providers["anthropic"]
    assert after == msgspec.structs.replace(before, key_hint="…9876", rotated_us=control.now_us)
    assert "…9876" in admin.get("/providers").words


def test_changing_a_provider_keeps_its_key(editor, control):
    fields = {"kind": "openai", "base_url": "https://api.anthropic.com/v1", "models": "one\ntwo"}
    assert editor.post("/providers/anthropic", fields).status == 303
    row = control.objects._providers["anthropic"]
    assert (row.models, row.key_set, row.key_hint) == (("one", "two"), True, "…x7Qa")


def test_a_key_is_asked_for_again_before_it_goes_to_another_address(editor, admin, control):
    fields = {"kind": "openai", "base_url": "https://new.example.org/v1", "models": "claude-sonnet"}
    before = control.objects._providers["anthropic"]
    for page in (
        editor.post("/providers/anthropic", fields),
        admin.post("/providers/anthropic", fields | {"api_key": ""}),
    ):
        assert page.status == 422
        assert "enter it again" in page.words
    assert editor.post("/providers/anthropic", fields | {"api_key": "sk-mine"}).status == 422
    assert control.objects._providers["anthropic"] == before
    assert admin.post("/providers/anthropic", fields | {"api_key": "sk-mine-again"}).status == 303
    assert control.objects._providers["anthropic"].base_url == "https://new.example.org/v1"


def test_what_a_form_does_not_show_stays(admin, control, monkeypatch):
    sent = []
    spec = msgspec.structs.replace(control.machine.providers[1], headers={"x-team": "a"}, proxy="http://p:1")
    control.machine.providers = (spec,)

    async def put(actor, spec, *, api_key):
        sent.append((spec, api_key))
        return control.published()

    monkeypatch.setattr(control.objects, "put_provider", put)
    fields = {"kind": "openai", "base_url": spec.base_url, "models": "other"}
    assert admin.post(f"/providers/{spec.name}", fields).status == 303
    assert sent == [(msgspec.structs.replace(spec, models=("other",)), None)]


ADVANCED = {
    "headers": "X-Team: search\n\n x-region :  eu ", "first_byte_s": "30", "connect_s": "", "idle_s": "",
    "total_s": "0.5",
    "max_connections": "", "options": '{"done_marker": false}',
}  # fmt: skip


def test_headers_deadlines_connections_and_options_go_there_and_back(editor, control):
    fields = {"kind": "openai", "base_url": "https://api.anthropic.com/v1", "models": "one"} | ADVANCED
    assert editor.post("/providers/anthropic", fields).status == 303
    spec = next(spec for spec in control.machine.providers if spec.name == "anthropic")
    assert spec.headers == {"X-Team": "search", "x-region": "eu"}
    assert (spec.max_connections, spec.options) == (1000, {"done_marker": False})
    assert spec.deadlines == Deadlines(first_byte_s=30, total_s=0.5)
    page = editor.get("/providers/anthropic")
    for shown in ("X-Team: search\nx-region: eu", 'value="30"', 'value="0.5"', '{"done_marker":false}'):
        assert shown in html.unescape(page.text)
    assert '<details class="advanced" open' in page.text
    emptied = fields | dict.fromkeys(ADVANCED, "")
    assert editor.post("/providers/anthropic", emptied).status == 303
    spec = next(spec for spec in control.machine.providers if spec.name == "anthropic")
    assert (spec.headers, spec.deadlines, spec.options) == ({}, None, {})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("headers", "no colon here", "Name: value"),
        ("connect_s", "0", "more than 0"),
        ("total_s", "1e9", "Seconds"),
        ("idle_s", "-1", "Seconds"),
        ("max_connections", "0", "from 1 to"),
        ("options", "[1]", "JSON object"),
        ("options", "{", "JSON object"),
    ],
)
def test_what_cannot_be_said_of_a_provider_is_told_at_its_field(editor, control, field, value, said):
    before = control.machine.providers
    fields = {"kind": "openai", "base_url": "https://api.anthropic.com/v1", "models": "one"} | ADVANCED
    page = editor.post("/providers/anthropic", fields | {field: value})
    assert page.status == 422
    assert said in page.words
    assert f'id="f-{field}-problem"' in page.text
    assert control.machine.providers == before


def test_removing_a_provider_says_who_will_answer_its_names(admin, control):
    assert "will then be answered by others" not in admin.get("/providers/anthropic").words
    own = control.objects._providers["own"]
    control.objects._providers["own"] = msgspec.structs.replace(own, models=())
    words = admin.get("/providers/anthropic").words
    assert "anthropic/claude-sonnet → own/anthropic/claude-sonnet" in words


def test_a_provider_goes_only_when_its_name_was_typed(admin, control):
    assert admin.post("/providers/anthropic/remove", {"typed_name": "x"}).status == 422
    assert admin.post("/providers/anthropic/remove", {"typed_name": "anthropic"}).status == 303
    assert "anthropic" not in control.objects._providers


def test_a_provider_is_tested_in_place_and_without_scripts(editor):
    page = editor.post("/providers/openai/test", hx_request="true")
    assert page.words.strip().startswith("Answered in 212 ms.")
    assert "<html" not in page.text
    page = editor.post("/providers/openai/test")
    assert "Answered in 212 ms." in page.words
    assert "<html" in page.text
    assert "401: no such key" in editor.post("/providers/own/test").words


def test_models_show_traffic_prices_and_what_is_not_known(viewer):
    words = viewer.get("/models").words
    assert "openai/gpt-4o-mini" in words
    assert "$0.15 / $0.60" in words
    assert "no known price" in words
    page = viewer.get("/models?id=openai/gpt-4o")
    assert "2024-10-02 in force" in page.words
    assert "2024-05-13" in page.words
    assert "128,000" in page.words
    assert viewer.get("/models?id=nobody/nothing").status == 404


def test_models_keep_to_the_project(viewer, control):
    every, one = viewer.get("/models").words, viewer.get("/models?project=nowhere").words
    assert "good" in every
    assert "good" not in one
    assert "no calls" in one


def test_the_first_pages_say_what_to_do(empty):
    assert "No providers yet" in empty.get("/providers").words
    assert "No models yet" in empty.get("/models").words
    assert empty.app._control.machine.providers == Snapshot(generation=1).providers
