"""The first page's table by model, user and key."""

from collections import Counter

import pytest

from rigs.browse import signed_in
from rigs.console_up import console_over
from rigs.sample_day import full_control
from trimtab.types import KeySpec


def row(page, name):
    """Return the words of a row of the table."""
    text = page.text[page.text.index('<section class="card top"') :]
    return next(part for part in text.split("<tr data-row>")[1:] if f">{name}<" in part)


@pytest.mark.parametrize("span", ["1h", "24h", "7d"])
@pytest.mark.parametrize(("by", "named"), [("models", "Model"), ("users", "User"), ("keys", "Key")])
def test_the_table_is_switched_and_keeps_the_range(viewer, span, by, named):
    page = viewer.get(f"/?range={span}&top={by}")
    assert page.status == 200
    text = page.text.replace("&#x2f;", "/").replace("&amp;", "&")
    assert f'<th scope="col">{named}</th>' in text
    for other in ("models", "users", "keys"):
        assert f'href="/?range={span}&top={other}#top"' in text


def test_users_are_counted_from_their_rollup_and_lead_to_their_calls(viewer, control):
    counted = Counter(call.opened.user for call in control.records.calls if call.opened.user)
    name, most = counted.most_common(1)[0]
    found = row(viewer.get("/?range=7d&top=users"), name)
    assert f'<td class="num">{most}</td>' in found
    assert f"user={name}" in found


def test_keys_are_named_and_counted_from_the_newest_calls(viewer, control):
    key, name = "key_1", "checkout"
    control.objects._keys[key] = KeySpec(id=key, sha256="0" * 64, name=name, project="default")
    since = control.now_us - 86_400_000_000
    count = sum(c.opened.key == key and c.opened.opened_us >= since for c in control.records.calls)
    found = row(viewer.get("/?range=24h&top=keys"), name)
    assert f'<td class="num">{count}</td>' in found
    assert f"key={key}" in found


def test_a_long_range_of_keys_says_that_it_is_over_the_newest_calls():
    control = full_control(3000)
    page = signed_in(console_over(control), control, "viewer").get("/?range=24h&top=keys")
    assert "the newest 1,000 calls" in page.words
    assert max(query.limit for query in control.records.asked) <= 1000


def test_what_is_asked_for_and_is_not_there_shows_models(viewer):
    assert '<th scope="col">Model</th>' in viewer.get("/?top=secrets").text
