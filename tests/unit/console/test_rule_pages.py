"""Limits and budgets: two nouns, the same pages."""

import html

import msgspec
import pytest

NOUNS = {
    "limits": {"per": "rule", "requests_per_minute": "60", "burst_s": "0.5"},
    "budgets": {
        "per": "rule", "period": "month", "hard": "hard", "strict": "tail", "unpriced": "allow",
        "amount_usd": "25", "alert_at": "50, 100", "wait_s": "5",
    },
}  # fmt: skip
WRONG = {"limits": {"burst_s": "-1"}, "budgets": {"amount_usd": "0"}}


@pytest.fixture(params=NOUNS)
def noun(request) -> str:
    return request.param


@pytest.fixture
def rules(control, noun) -> dict:
    return getattr(control.objects, f"_{noun}")


def test_a_rule_is_added_changed_and_removed(admin, noun, rules):
    fields = {"name": "mine", "model": "openai/*", **NOUNS[noun]}
    assert admin.post(f"/{noun}/-/new", fields).headers["location"] == f"/{noun}?done=saved"
    assert (rules["mine"].spec.model, rules["mine"].owner) == ("openai/*", "store")
    assert "openai/*" in html.unescape(admin.get(f"/{noun}/mine").text)
    changed = NOUNS[noun] | {"model": "openai/small"}
    assert admin.post(f"/{noun}/mine", changed).headers["location"] == f"/{noun}?done=saved"
    assert rules["mine"].spec.model == "openai/small"
    assert admin.post(f"/{noun}/mine/remove", {"typed_name": "mine!"}).status == 422
    assert "mine" in rules
    assert (
        admin.post(f"/{noun}/mine/remove", {"typed_name": "mine"}).headers["location"]
        == f"/{noun}?done=saved"
    )
    assert "mine" not in rules


def test_what_is_wrong_is_said_and_nothing_is_kept(admin, noun, rules):
    fields = {"name": "mine", **NOUNS[noun]}
    assert admin.post(f"/{noun}/-/new", fields | WRONG[noun]).status == 422
    assert "mine" not in rules
    admin.post(f"/{noun}/-/new", fields)
    before = dict(rules)
    again = admin.post(f"/{noun}/-/new", fields)
    assert (again.status, "already" in again.words) == (422, True)
    assert admin.post(f"/{noun}/mine", NOUNS[noun] | WRONG[noun]).status == 422
    assert rules == before


def test_what_the_file_declares_cannot_be_changed(admin, noun, rules):
    admin.post(f"/{noun}/-/new", {"name": "mine", **NOUNS[noun]})
    rules["mine"] = msgspec.structs.replace(rules["mine"], owner="file")
    before = dict(rules)
    assert 'class="card form"' not in admin.get(f"/{noun}/mine").text
    for sent in (NOUNS[noun], NOUNS[noun] | WRONG[noun], {}):
        assert "change it there" in admin.post(f"/{noun}/mine", sent).words
    assert "change it there" in admin.post(f"/{noun}/mine/remove", {"typed_name": "mine"}).words
    assert rules == before


def test_a_rule_that_is_not_there_is_not_found(admin, noun):
    page = admin.get(f"/{noun}/none")
    assert page.status == 404
    assert f"there is no {noun.removesuffix('s')}" in page.words
