"""Alerts in the console: rules, history, webhooks, deliveries."""

import html
import re

import pytest

RULE = {
    "name": "mine", "kind": "latency_p95", "threshold": "2500", "clear": "", "window_s": "600", "hold_s": "0",
    "min_calls": "5", "project": "", "webhooks": "ops, chat", "enabled": "true",
}  # fmt: skip


def test_rules_history_webhooks_and_deliveries_are_on_one_page(viewer):
    text = re.sub(r"\s+", " ", html.unescape(viewer.get("/alerts").text))
    assert "23.7 %" in text
    assert "≥ 5 %" in text
    assert "firing" in text
    assert "off" in text
    assert "23.7 % of the calls of the last 5 min failed" in text
    assert "hooks.example.com/…" in text
    assert "given up" in text
    assert "New rule" not in text


def test_an_empty_installation_says_what_a_rule_is(empty):
    text = empty.get("/alerts").text
    assert "No rules yet" in text
    assert "No webhooks yet" in text


def test_a_rule_is_added_changed_and_removed(editor, control):
    page = editor.post("/alerts/-/new", RULE)
    assert page.status == 303
    rule = control.alerts.held["mine"]
    assert (rule.kind, rule.threshold, rule.window_s) == ("latency_p95", 2500.0, 600)
    assert rule.webhooks == ("ops", "chat")
    assert rule.clear is None
    assert "2,500 ms" in editor.get("/alerts/mine").text
    page = editor.post("/alerts/mine", RULE | {"threshold": "", "window_s": "0", "enabled": "false"})
    assert page.status == 303
    rule = control.alerts.held["mine"]
    assert (rule.threshold, rule.window_s, rule.enabled) == (None, None, False)
    assert editor.post("/alerts/mine/remove", {}).status == 303
    assert "mine" not in control.alerts.held


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", "errors", "already"),
        ("name", "a b", "letters"),
        ("threshold", "much", "above 0"),
        ("threshold", "-1", "above 0"),
        ("window_s", "999999", "whole number"),
        ("webhooks", "nobody", "no webhook"),
        ("project", "nowhere", "nowhere"),
        ("clear", "9999", "other side"),
        ("kind", "weather", "one of"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(editor, field, value, says):
    page = editor.post("/alerts/-/new", RULE | {field: value})
    assert page.status == 422
    problem = re.search(rf'id="f-{field}-problem">([^<]*)<', page.text)
    assert problem, page.text
    assert says in problem[1].replace("Choose", "one of")


def test_the_files_rules_have_no_form(editor):
    assert '<form method="post" action="/alerts/file-disk' not in editor.get("/alerts/file-disk").text


def test_a_webhooks_secret_is_shown_once_and_its_url_never(admin, control):
    page = admin.post(
        "/alerts/-/webhook", {"name": "new", "url": "https://example.com/very/secret", "format": "standard"}
    )
    assert page.status == 200
    assert "whsec_" in page.text
    shown = admin.get("/alerts").text
    assert "whsec_" not in shown
    assert "very/secret" not in shown
    assert (
        admin.post("/alerts/-/webhook", {"name": "s", "url": "https://x.com/a", "format": "slack"}).status
        == 303
    )
    assert admin.post("/webhooks/new/remove", {}).status == 303
    assert "new" not in control.alerts.hooks


def test_a_test_says_what_became_of_it(editor, control):
    assert "Taken: 204 within 12 ms." in editor.post("/webhooks/ops/test", {}).text
    control.alerts.takes = False
    page = editor.post("/webhooks/ops/test", {}, **{"hx-request": "true"})
    assert "Not taken: answered 500" in re.sub(r"\s+", " ", page.text)
    assert "<html" not in page.text
