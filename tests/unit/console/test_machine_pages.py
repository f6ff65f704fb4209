"""Settings, the audit log, health, privacy."""

import json
import re

import msgspec
import pytest

from rigs.fake_control import FakeControl
from trimtab.api import Published
from trimtab.console.admin.settings import difference
from trimtab.storage import read_call_line
from trimtab.types import CallerError, ConfigError, SettingChange, StorageError, new_id


def test_a_setting_changes_and_its_history_shows_how(editor, control):
    assert (
        editor.post("/settings/data.payload", {"value": "hash"}).headers["location"] == "/settings?done=saved"
    )
    assert control.objects._settings["data.payload"].value == "hash"
    page = editor.get("/settings/-/history")
    assert "<del>full</del><ins>hash</ins>" in page.text
    only = editor.get("/settings/-/history?name=models.default").words
    assert "models.default" in only
    assert "data.payload" not in only


def test_a_setting_may_be_named_as_a_dictionarys_method(editor, control):
    row = msgspec.structs.replace(
        control.objects._settings["data.payload"], name="items", kind="text", value="v1"
    )
    control.objects._settings["items"] = row
    page = editor.get("/settings").text
    assert 'value="v1"' in page
    assert "method" not in page.split('id="s-items"')[1].split(">")[0]


def test_a_setting_goes_back_to_its_default(editor, control):
    editor.post("/settings/data.payload", {"value": "hash"})
    assert "Back to the default: full" in editor.get("/settings").words
    editor.post("/settings/data.payload", {"value": ""})
    assert control.objects._settings["data.payload"].owner == "default"


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("data.payload", "everything", 422),
        ("gateway.open_access", "maybe", 422),
        ("data.keep_days", "9", 422),
        ("x.y", "1", 404),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_at_its_field(editor, control, name, value, status):
    before = dict(control.objects._settings)
    page = editor.post(f"/settings/{name}", {"value": value})
    assert page.status == status
    assert control.objects._settings == before
    if status == 422 and name != "data.keep_days":
        assert f'id="s-{name}-problem"' in page.text


def test_the_file_is_read_again(editor, control, monkeypatch):
    assert editor.post("/settings/-/reload").headers["location"] == "/settings?done=reloaded"

    async def noted(actor):
        return Published(generation=9, obeyed=True, notes=("[console] has changed; that takes a restart",))

    monkeypatch.setattr(control.machine, "reload", noted)
    assert "takes a restart" in editor.post("/settings/-/reload").words

    async def broken(actor):
        raise ConfigError("trimtab.toml:7: no such key")

    monkeypatch.setattr(control.machine, "reload", broken)
    page = editor.post("/settings/-/reload")
    assert page.status == 422
    assert "trimtab.toml:7" in page.words


def test_a_difference_shows_what_went_and_came():
    def pieces(before, after):
        change = SettingChange(at_us=0, actor="", name="", before=before, after=after)
        return [(piece.kind, piece.text) for piece in difference(change)]

    assert pieces("", "x") == [("new", "x")]
    assert pieces("x", "") == [("gone", "x")]
    assert pieces("openai/gpt-4o", "openai/gpt-4.1") == [
        ("same", "openai/gpt-4"),
        ("gone", "o"),
        ("new", ".1"),
    ]
    assert pieces("full", "none") == [("gone", "full"), ("new", "none")]
    assert pieces("a" * 3000, "b") == [("gone", "a" * 3000), ("new", "b")]


def test_the_audit_log_is_filtered_and_paged_by_its_entries(admin, control):
    page = admin.get("/audit?actor=eve")
    seen = re.findall(r"<tr data-row>", page.text)
    assert len(seen) == 50
    older = re.search(r'rel="next" href="([^"]+)"', page.text)[1].replace("&#x2f;", "/").replace("&amp;", "&")
    second = admin.get(older)
    third = (
        re.search(r'rel="next" href="([^"]+)"', second.text)[1].replace("&#x2f;", "/").replace("&amp;", "&")
    )
    last = admin.get(third)
    assert len(re.findall(r"<tr data-row>", last.text)) == 20
    assert 'rel="next"' not in last.text
    assert "refused" in admin.get("/audit?action=provider.put").words
    assert "No entries" in admin.get("/audit?object=nothing").words


def test_what_stands_in_the_audit_log_is_text(admin, control):
    control.note(admin_actor(control), "key.create", "<script>alert(1)</script>", x=["<b>", "<i>"])
    page = admin.get("/audit")
    assert "<script>alert" not in page.text
    assert "<b>" not in page.text.partition("<tbody")[2]


def admin_actor(control: FakeControl):
    from rigs.sample_day import ROOT

    return ROOT


def test_health_says_what_runs_and_what_was_lost(viewer, control):
    page = viewer.get("/health")
    assert "Everything runs" in page.words
    part = viewer.get("/health", hx_request="true")
    assert "<html" not in part.text
    control.machine.unrecorded = 3
    assert "3 records could not be written" in viewer.get("/health").words


def test_health_copes_with_what_a_machine_leaves_out(viewer, control, monkeypatch):
    async def little():
        return {"status": "degraded", "generation": 2, "workers": {}, "processes": ()}

    monkeypatch.setattr(control.machine, "health", little)
    page = viewer.get("/health")
    assert page.status == 200
    assert "not as it should be" in page.words


def one_with_user(control):
    return next(call for call in control.records.calls if call.opened.user)


def test_an_erasure_shows_first_what_would_go_and_takes_the_name_typed(admin, control):
    user = one_with_user(control).opened.user
    count = sum(call.opened.user == user for call in control.records.calls)
    for page in (admin.get(f"/privacy?user={user}"), admin.get(f"/privacy?user={user}", hx_request="true")):
        assert f"{count} calls" in page.words
    fields = {"user": user, "session": "", "project": ""}
    assert admin.post("/privacy/-/erase", fields | {"typed_name": "no"}).status == 422
    assert sum(call.opened.user == user for call in control.records.calls) == count
    page = admin.post("/privacy/-/erase", fields | {"typed_name": user})
    assert page.status == 200
    assert "Erased" in page.words
    assert not any(call.opened.user == user for call in control.records.calls)


def test_an_erasure_of_nobody_is_refused(admin, control):
    count = len(control.records.calls)
    assert admin.post("/privacy/-/erase", {"user": "", "session": "", "typed_name": ""}).status == 422
    assert len(control.records.calls) == count
    assert "No call of nobody" in admin.get("/privacy?user=nobody").words


def test_an_erasure_names_backups_that_hold_the_data_still(admin, control, monkeypatch):
    from trimtab.api import Erased

    async def erase(actor, what):
        return Erased(calls=2, log_records=1, backups=("/backups/monday",))

    monkeypatch.setattr(control.records, "erase", erase)
    page = admin.post("/privacy/-/erase", {"user": "u", "session": "", "typed_name": "u"})
    assert "/backups/monday" in page.words


def test_an_editor_sees_what_would_go_but_cannot_erase(editor, control):
    user = one_with_user(control).opened.user
    page = editor.get(f"/privacy?user={user}")
    assert "Only admins can erase" in page.words
    assert 'name="typed_name"' not in page.text


def test_an_export_holds_every_call_once(editor, control):
    page = editor.get("/privacy/-/export")
    assert page.headers["content-type"].startswith("application/x-ndjson")
    assert "attachment" in page.headers["content-disposition"]
    read = [read_call_line(line) for line in page.body.splitlines()]
    assert read == list(reversed(control.records.calls))


def test_an_export_keeps_to_its_days_and_project(editor, control):
    page = editor.get("/privacy/-/export?project=shop&since=2026-09-22&until=2026-09-22")
    rows = [json.loads(line) for line in page.body.splitlines()]
    assert rows
    assert {row["opened"]["project"] for row in rows} == {"shop"}
    assert min(row["opened"]["opened_us"] for row in rows) >= 1_790_035_200_000_000
    assert editor.get("/privacy/-/export?since=yesterday").status == 422


@pytest.mark.parametrize(
    "error", [CallerError("it is there", param="target"), StorageError("the disk is full")]
)
def test_a_backup_that_cannot_be_written_says_so_at_its_field(admin, control, monkeypatch, error):
    async def fail(actor, target):
        raise error

    monkeypatch.setattr(control.machine, "back_up", fail)
    page = admin.post("/privacy/-/backup", {"target": "/backups/monday"})
    assert page.status == 422
    assert re.search(rf'id="f-target-problem">{error.message}', page.text)


def test_a_backup_is_written(admin):
    assert admin.post("/privacy/-/backup", {"target": "somewhere"}).status == 422
    page = admin.post("/privacy/-/backup", {"target": "/backups/monday"})
    assert page.status == 200
    assert "312.0 MB" in page.words


def test_a_page_of_a_large_audit_log_asks_for_a_page(admin, control):
    entry = control.people.entries[0]
    control.people.entries += [msgspec.structs.replace(entry, id=new_id()) for _ in range(2000)]
    assert admin.get("/audit").text.count("<tr data-row>") == 50
