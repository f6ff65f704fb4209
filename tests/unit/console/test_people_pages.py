"""Keys, projects, users: what their forms do, and what they refuse."""

import asyncio
import re

import pytest

from rigs.browse import signed_in
from rigs.fake_control import PASSWORDS
from trimtab.access import SHORTEST_PASSWORD
from trimtab.console.examples import listed_models


def test_a_key_is_shown_once_and_nowhere_else(editor, control):
    page = editor.post("/keys/-/new", {"name": "ci", "project": "shop", "payload": "none"})
    assert page.status == 200
    assert page.headers["cache-control"] == "no-store"
    text = re.search(r'id="new-key"[^>]*>(tt-[^<]+)<', page.text)[1]
    assert f"Bearer {text}" in page.words
    model = re.search(r'"model": "([^"]+)"', page.words)[1]
    snapshot = asyncio.run(control.machine.snapshot())
    assert model in listed_models(snapshot), "the example asks for a model that is there"
    key = next(key for key in control.objects._keys.values() if key.name == "ci")
    assert (key.project, key.payload) == ("shop", "none")
    for path in ("/keys", "/projects/shop"):
        assert text not in editor.get(path).text
        assert "ci" in editor.get(path).words
    assert text not in repr(control.people.entries)


def test_a_key_needs_a_name_and_a_project_that_is_there(editor, control):
    before = len(control.objects._keys)
    assert editor.post("/keys/-/new", {"name": " ", "project": "default", "payload": ""}).status == 422
    page = editor.post("/keys/-/new", {"name": "x", "project": "ghost", "payload": ""})
    assert page.status == 422
    assert "ghost" in page.words
    assert editor.post("/keys/-/new", {"name": "x", "project": "shop", "payload": "all"}).status == 422
    assert len(control.objects._keys) == before


def test_the_list_of_keys_keeps_to_the_project(viewer):
    assert "billing-service" in viewer.get("/keys").words
    words = viewer.get("/keys?project=shop").words
    assert "web-shop" in words
    assert "billing-service" not in words


def test_a_key_is_revoked(editor, control):
    assert editor.post("/keys/key_0198c0ffee02/revoke").headers["location"] == "/keys?done=key_revoked"
    assert "key_0198c0ffee02" not in control.objects._keys
    assert editor.post("/keys/key_0198c0ffee02/revoke").status == 404


def test_a_project_is_made_and_changed(editor, control):
    fields = {"name": "voice", "title": "Voice bot", "payload": "hash", "retention_days": "14"}
    assert editor.post("/projects/-/new", fields).headers["location"] == "/projects?done=project_made"
    project = control.objects._projects["voice"]
    assert (project.title, project.payload, project.retention_days) == ("Voice bot", "hash", 14)
    changed = {"title": "", "payload": "none", "retention_days": ""}
    assert editor.post("/projects/voice", changed).status == 303
    project = control.objects._projects["voice"]
    assert (project.title, project.payload, project.retention_days) == ("", "none", 0)
    assert project.created_us == control.now_us


def test_a_project_that_is_there_is_not_made_again(editor, control):
    page = editor.post("/projects/-/new", {"name": "shop", "payload": "none", "retention_days": "0"})
    assert page.status == 422
    assert control.objects._projects["shop"].title == "Web shop"


def test_a_project_goes_only_when_its_name_was_typed(admin, control):
    assert admin.post("/projects/shop/remove", {"typed_name": "shopp"}).status == 422
    assert "shop" in control.objects._projects
    page = admin.post("/projects/shop/remove?project=shop", {"typed_name": "shop"})
    assert page.headers["location"] == "/projects?done=project_removed"
    assert "shop" not in control.objects._projects


def test_the_default_project_stays(admin, control):
    assert "/projects/default/remove" not in admin.get("/projects/default").text
    page = admin.post("/projects/default/remove", {"typed_name": "default"})
    assert page.status == 422
    assert "always there" in page.words
    assert "default" in control.objects._projects


def test_a_user_is_added_and_can_sign_in(admin, control, stranger):
    fields = {
        "name": "kenji",
        "role": "editor",
        "password": "long enough, this",
        "password_again": "long enough, this",
    }
    assert admin.post("/users/-/new", fields).headers["location"] == "/users?done=user_added"
    stranger.get("/sign-in")
    assert stranger.post("/sign-in", {"name": "kenji", "password": "long enough, this"}).status == 303
    assert "long enough, this" not in repr(control.people.entries)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "short", "password_again": "short"}, "At least 12"),
        ({"password_again": "other words, long"}, "differ"),
        ({"role": "root"}, "Choose"),
        ({"name": "EVE"}, "taken"),
        ({"name": "a b"}, "letters"),
    ],
)
def test_a_user_that_cannot_be_is_not_added(admin, control, changes, said):
    fields = {
        "name": "new",
        "role": "viewer",
        "password": "long enough, this",
        "password_again": "long enough, this",
    }
    before = len(control.people._users)
    page = admin.post("/users/-/new", fields | changes)
    assert page.status == 422
    assert said in page.words
    assert len(control.people._users) == before


def test_a_users_role_password_and_access_change(admin, control, stranger):
    assert admin.post("/users/vic/role", {"role": "editor"}).status == 303
    assert control.people._users["vic"].role == "editor"
    fields = {"password": "other words, long", "password_again": "other words, long"}
    assert admin.post("/users/vic/password", fields).status == 303
    stranger.get("/sign-in")
    assert stranger.post("/sign-in", {"name": "vic", "password": "other words, long"}).status == 303
    assert admin.post("/users/vic/disabled", {"disabled": "yes"}).status == 303
    assert stranger.get("/").headers["location"].startswith("/sign-in")
    assert "disabled" in admin.get("/users/vic").words
    assert admin.post("/users/vic/disabled", {"disabled": "no"}).status == 303
    assert not control.people._users["vic"].disabled


def test_a_user_goes_only_when_the_name_was_typed(admin, control):
    assert admin.post("/users/vic/remove", {"typed_name": ""}).status == 422
    assert admin.post("/users/vic/remove", {"typed_name": "vic"}).status == 303
    assert "vic" not in control.people._users
    assert admin.get("/users/vic").status == 404


def test_the_audit_log_says_from_where(admin, control):
    admin.post("/users/vic/role", {"role": "editor"})
    entry = control.people.entries[-1]
    assert (entry.action, entry.actor, entry.address) == ("user.change", "ada", "127.0.0.1")


def test_the_first_page_of_users_says_what_to_do(empty):
    empty.app._control.people._users.clear()
    assert "No users yet" in empty.get("/users").words


NEW = {"current": PASSWORDS["vic"], "password": "other words, long", "password_again": "other words, long"}


def test_ones_own_password_changes_and_only_this_browser_stays_signed_in(app, viewer, control, stranger):
    elsewhere = signed_in(app, control, "viewer")
    before = dict(viewer.cookies)
    assert "Change your password" in viewer.get("/account").words
    page = viewer.post("/account/password", NEW)
    assert page.headers["location"] == "/account?done=own_password_set"
    assert viewer.cookies != before
    assert viewer.get(page.headers["location"]).status == 200
    assert elsewhere.get("/").headers["location"].startswith("/sign-in")
    stranger.get("/sign-in")
    assert stranger.post("/sign-in", {"name": "vic", "password": "other words, long"}).status == 303


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"current": "wrong"}, "not the present password"),
        ({"password": "short", "password_again": "short"}, f"At least {SHORTEST_PASSWORD}"),
        ({"password_again": "something else"}, "differ"),
    ],
)
def test_ones_own_password_stays_when_the_form_is_wrong(viewer, control, changes, said):
    page = viewer.post("/account/password", NEW | changes)
    assert page.status == 422
    assert said in page.words
    for typed in {*NEW.values(), *changes.values()}:
        assert f'value="{typed}"' not in page.text
    assert control.people._passwords["vic"] == PASSWORDS["vic"]


def test_guesses_at_ones_own_password_come_to_an_end(viewer):
    for _ in range(5):
        viewer.post("/account/password", NEW | {"current": "wrong"})
    page = viewer.post("/account/password", NEW)
    assert page.status == 422
    assert "Too many" in page.words


def test_the_installations_token_has_no_password(app, control):
    token = signed_in(app, control, "admin", "admin-token")
    assert "changes at every start" in token.get("/account").words
    assert "/account/password" not in token.get("/account").text
