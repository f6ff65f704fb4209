"""The list of calls, one call, sessions, the first page: as their users use them."""

import csv
import html
import io
import json
import re
from urllib.parse import quote

import msgspec
import pytest

from rigs.browse import signed_in
from rigs.console_up import console_over
from rigs.fake_control import FakeControl
from rigs.sample_day import NOW_US, answer_of, finished, full_control, opened_at
from trimtab.console.content.conversation import new_turns, request_turns
from trimtab.console.csv_out import guarded
from trimtab.console.lists import COLUMNS, FILTERS, HOLD_S, LOOK_S, POLL_S
from trimtab.console.sums import SPANS
from trimtab.console.waterfall import waterfall
from trimtab.ledger import Pause
from trimtab.storage import CallQuery

LANGUAGES = ("en", "ja")
LISTS = (
    "/",
    "/calls",
    "/sessions",
    "/calls?live=1",
    "/calls?state=error&range=24h",
    "/?range=1h",
    "/?range=7d",
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("who", ["viewer", "editor", "admin", "empty"])
def test_every_list_is_there_for_everybody_in_both_languages(who, path, language, request):
    browser = request.getfixturevalue(who)
    browser.cookies["trimtab_language_8401"] = language
    page = browser.get(path)
    assert page.status == 200
    assert f'<html lang="{language}"' in page.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_every_call_has_a_page(language, role):
    control = full_control(30)
    browser = signed_in(console_over(control), control, role)
    browser.cookies["trimtab_language_8401"] = language
    for call in control.records.calls:
        assert browser.get(f"/calls/{call.id}").status == 200
        assert browser.get(f"/calls/{call.id}.json").status == 200


def test_a_viewer_sees_no_form_that_changes_anything(viewer, control):
    for path in ("/", "/calls?state=ok", f"/calls/{control.records.calls[-1].id}", "/sessions"):
        posts = viewer.get(path).text.split('method="post" action="')[1:]
        assert {post.split('"')[0].replace("&#x2f;", "/") for post in posts} == {"/preferences", "/sign-out"}


def test_before_the_first_call_the_page_says_how_to_make_it(empty):
    page = empty.get("/")
    assert "http://127.0.0.1:8400/v1" in page.words
    assert 'api_key="unused"' in page.words
    assert "trimtab keys create" in page.words
    assert empty.get("/home/waiting").status == 204
    assert "hx-refresh" not in empty.get("/home/waiting").headers


def test_once_it_is_made_the_page_loads_itself_again(admin):
    assert admin.get("/home/waiting").headers["hx-refresh"] == "true"


def test_home_sums_what_the_rollups_hold(admin, control):
    day = [c for c in control.records.calls if c.opened.opened_us > NOW_US - 86_400_000_000]
    failed = sum(call.state == "error" for call in day)
    words = admin.get("/?range=24h").words
    assert f"{failed} of {len(day)}" in words or f"{failed} of {len(day) + 0}" in words
    assert "Configuration reloaded" in words
    assert "ada" not in words.split("What changed")[1].split("Users")[0]  # who did it, the audit log says


def test_home_counts_what_went_unrecorded(admin, control):
    control.machine.unrecorded = 17
    assert "17" in admin.get("/").words.split("Unrecorded")[1][:40]


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.name)
def test_the_charts_figures_add_up(admin, control, span):
    data = json.loads(admin.get(f"/home/series.json?range={span.name}").body)
    lengths = {name: len(data[name]) for name in ("time", "ok", "errors", "p50", "p95", "cost")}
    assert len(set(lengths.values())) == 1
    assert data["time"] == sorted(data["time"])
    since_us = (NOW_US - span.seconds * 1_000_000) // (span.step_s * 1_000_000) * span.step_s * 1_000_000
    inside = [
        c for c in control.records.calls if c.opened.opened_us >= since_us and c.opened.purpose == "live"
    ]
    assert sum(data["ok"]) + sum(data["errors"]) == len(inside)
    assert sum(data["errors"]) == sum(call.state == "error" for call in inside)


def test_marks_stand_where_something_changed_and_not_where_somebody_signed_in(admin):
    data = json.loads(admin.get("/home/series.json?range=24h").body)
    texts = [mark["text"] for mark in data["marks"]]
    assert "Key made: web-shop" in texts
    assert not any("ada" in text for text in texts)


def test_a_project_shows_its_own_calls_alone(admin, control):
    for path in ("/calls?project=shop&cols=time,project", "/sessions?project=shop"):
        page = admin.get(path)
        rows = page.text.split("<tbody")[1]
        assert "shop" in rows
        assert "research" not in rows
    data = json.loads(admin.get("/home/series.json?project=shop&range=30d").body)
    live = [c for c in control.records.calls if c.opened.project == "shop"]
    assert sum(data["ok"]) + sum(data["errors"]) == len(live)


def test_the_project_goes_along_in_every_link_of_the_menu(admin):
    assert 'href="/calls?project=shop"' in admin.get("/?project=shop").text.replace("&#x2f;", "/")


@pytest.mark.parametrize(
    ("name", "value"),
    [("state", "error"), ("model", "openai/gpt-4o"), ("provider", "openai"), ("user", "user-03"), ("key", "key_1"),
     ("tag", "beta"), ("route", "support"), ("text", "配送"), ("error_code", "rate_limited"), ("purpose", "live"),
     ("since_us", str(NOW_US - 3_600_000_000)), ("until_us", str(NOW_US - 3_600_000_000)), ("session", "s-001")],
)  # fmt: skip
def test_every_filter_reaches_the_store(admin, control, name, value):
    admin.get(f"/calls?{name}={quote(value)}")
    asked = [query for query in control.records.asked if query.limit == 50][-1]
    assert str(getattr(asked, name)) == value


def test_the_filters_are_those_of_the_store():
    assert set(FILTERS) | {"project", "before", "limit"} == set(CallQuery.__struct_fields__)


@pytest.mark.parametrize(
    "query",
    ["state=no", "since_us=x", "purpose=no", "before=x", "until_us=-", "before=%00", "since_us=" + "9" * 40],
)
def test_a_filter_that_cannot_be_used_is_said_on_the_page(viewer, query):
    page = viewer.get(f"/calls?{query}")
    assert page.status == 400
    assert 'role="alert"' in page.text


def test_pages_go_on_by_key_and_miss_nothing(admin, control):
    seen, path = [], "/calls"
    while path:
        text = admin.get(path).text.replace("&#x2f;", "/").replace("&amp;", "&")
        seen += [row.split('"')[0] for row in text.split('id="c-')[1:]]
        older = text.split('<div class="pager">')[1].split(">Older<")[0]
        path = older.rsplit('href="', 1)[1].split('"')[0] if ">Older<" in text else ""
    assert seen == [call.id for call in reversed(control.records.calls)]


def test_columns_are_chosen_and_kept_in_the_address(viewer):
    page = viewer.get("/calls?col=time&col=user&col=nonsense")
    heads = page.text.split("<thead>")[1].split("</thead>")[0]
    assert heads.count("<th") == 2
    assert "cols=time%2Cuser" in page.text
    every = viewer.get("/calls?cols=" + ",".join(COLUMNS))
    assert every.text.split("<thead>")[1].split("</thead>")[0].count("<th") == len(COLUMNS)


def test_the_live_tail_sends_rows_only_when_they_changed(viewer, control):
    text = viewer.get("/calls?live=1").text.replace("&#x2f;", "/").replace("&amp;", "&")
    poll = text.split('hx-get="')[1].split('"')[0]
    assert viewer.get(poll).status == 204
    newest = finished(
        opened_at(NOW_US, {"messages": [{"role": "user", "content": "just now"}]}, model="openai/gpt-4o",
                  prompt="", number=1),
        latency_us=1000, answer=answer_of("yes"),
    )  # fmt: skip
    control.records.calls.append(newest)
    part = viewer.get(poll)
    assert part.status == 200
    assert f'<tr id="c-{newest.id}" data-row class="new">' in part.text
    assert "just now" in part.text
    assert part.text.count('class="new"') == 1
    again = part.text.replace("&#x2f;", "/").replace("&amp;", "&").split('hx-get="')[1].split('"')[0]
    assert viewer.get(again).status == 204


def test_a_call_that_ends_late_shows_in_the_tail_at_its_place(viewer, control):
    """Its id is from when it began; a tail that asked for newer ids alone would miss it."""
    text = viewer.get("/calls?live=1").text.replace("&#x2f;", "/").replace("&amp;", "&")
    poll = text.split('hx-get="')[1].split('"')[0]
    late = finished(
        opened_at(NOW_US - 70_000_000, {}, model="openai/gpt-4o", prompt="", number=1),
        latency_us=69_000_000, answer=answer_of("at last"),
    )  # fmt: skip
    control.records.calls.append(late)
    control.records.calls.sort(key=lambda call: call.id)
    assert late.id in viewer.get(poll).text


def test_a_saved_view_is_kept_shared_and_removed_by_its_owner(editor, viewer, admin, control):
    editor.get("/calls?state=error&model=openai%2Fgpt-4o")
    page = editor.post("/views", {"name": "Bad days", "query": "state=error&model=openai%2Fgpt-4o"})
    assert page.headers["location"] == "/calls?state=error&model=openai%2Fgpt-4o&done=view_saved"
    text = viewer.get("/calls").text
    assert "Bad days" in text
    assert "remove" not in text.split("Bad days")[1][:200]
    [view] = control.objects._views
    assert viewer.post(f"/views/{view}/remove").status == 403
    other = signed_in(console_over(control), control, "editor", "ed")
    other.get("/calls")
    assert other.post(f"/views/{view}/remove").status == 403
    assert editor.post(f"/views/{view}/remove").status == 303
    assert not control.objects._views


# CSV


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1+1", "＠x", "|calc", "%0A=1",
     "\u00a0=1", "=HYPERLINK(\"https://evil.example\")", "\ufeff=1"],
)  # fmt: skip
def test_no_cell_of_a_download_is_a_formula(text, control, viewer):
    assert guarded(text).startswith("'")
    opened = opened_at(
        NOW_US, {"messages": [{"role": "user", "content": text}]}, model=text, prompt=text, number=1,
        user=text, session=text, tags=(text,), key=text, route=text, project=text, model_asked=text,
    )  # fmt: skip
    call = finished(opened, latency_us=900, answer=answer_of(text))
    closed = msgspec.structs.replace(
        call.closed, error_code=text, finish_reason=text, provider=text, model=text
    )
    control.records.calls.append(msgspec.structs.replace(call, closed=closed))
    rows = list(csv.reader(io.StringIO(viewer.get("/calls.csv").body.decode("utf-8-sig"))))
    for cell in rows[1]:
        assert not cell.lstrip(" \t\r\n\u00a0\ufeff").startswith(
            ("=", "+", "-", "@", "＝", "＠", "|", "%")
        ), cell


def test_the_download_has_every_call_that_the_filters_mean(viewer, control):
    page = viewer.get("/calls.csv?state=error")
    assert page.headers["content-type"] == "text/csv; charset=utf-8"
    assert page.headers["content-disposition"] == 'attachment; filename="trimtab-calls.csv"'
    rows = list(csv.DictReader(io.StringIO(page.body.decode("utf-8-sig"))))
    failed = [call for call in reversed(control.records.calls) if call.state == "error"]
    assert [row["id"] for row in rows] == [call.id for call in failed]
    assert rows[0]["latency_ms"] == f"{failed[0].latency_ms:.1f}"
    assert viewer.get("/calls.csv?state=no").status == 400


# One call


def call_with(control, session):
    return next(call for call in control.records.calls if call.opened.session == session)


def test_a_call_shows_its_conversation_attempts_and_lineage(viewer, control):
    call = call_with(control, "s-tools")
    page = viewer.get(f"/calls/{call.id}")
    for text in ("get_weather", "京都", "Picture, not loaded", "Kyoto", "rate_limited", "Right city, and quick.",
                 call.opened.release, call.opened.trace_parent, call.id, "route/support", "chatcmpl-8f2a"):  # fmt: skip
        assert text in page.words
    assert "<strong>Kyoto</strong>" in page.text
    assert page.text.count("<rect") == 2


def test_what_was_not_kept_is_said(viewer, control):
    hidden = next(call for call in control.records.calls if call.opened.payload == "hash")
    assert "only a hash was kept" in viewer.get(f"/calls/{hidden.id}").words
    cut = next(call for call in control.records.calls if call.state == "unfinished")
    assert "may have billed" in viewer.get(f"/calls/{cut.id}").words


def test_the_json_of_a_call_is_that_of_the_api(viewer, control):
    call = call_with(control, "s-tools")
    page = viewer.get(f"/calls/{call.id}.json")
    assert json.loads(page.body)["closed"]["provider_request_id"] == "req_71c0"
    assert "attachment" in page.headers["content-disposition"]


@pytest.mark.parametrize(
    "call_id", ["x", "0" * 36, "0198f3c2-1111-7222-8333-444455556666", "..", "%3Cscript%3E"]
)
def test_a_call_that_is_not_there_is_a_404(viewer, call_id):
    assert viewer.get(f"/calls/{call_id}").status == 404


def test_neighbours_follow_the_filters_of_the_list(viewer, control):
    failed = [call.id for call in control.records.calls if call.state == "error"]
    if len(failed) < 3:
        pytest.skip("the sample has too few errors")
    for at in range(1, len(failed) - 1):
        text = viewer.get(f"/calls/{failed[at]}?state=error").text.replace("&#x2f;", "/")
        assert f'rel="next" href="/calls/{failed[at - 1]}?state=error"' in text
        assert f'rel="prev" href="/calls/{failed[at + 1]}?state=error"' in text
    assert 'rel="prev"' not in viewer.get(f"/calls/{failed[-1]}?state=error").text
    assert 'rel="next"' not in viewer.get(f"/calls/{failed[0]}?state=error").text


def test_every_neighbour_of_every_call_is_right(viewer, control):
    ids = [call.id for call in control.records.calls]
    for before, now, after in zip(ids[-40:], ids[-39:], ids[-38:], strict=False):
        text = viewer.get(f"/calls/{now}").text.replace("&#x2f;", "/")
        assert f'rel="next" href="/calls/{before}"' in text
        assert f'rel="prev" href="/calls/{after}"' in text


def test_feedback_is_given_by_editors_and_shown(editor, viewer, control):
    call = control.records.calls[-1]
    editor.get(f"/calls/{call.id}")
    page = editor.post(
        f"/calls/{call.id}/feedback", {"name": "thumbs", "score": "0", "comment": "wrong city"}
    )
    assert page.headers["location"] == f"/calls/{call.id}?done=feedback"
    [given] = control.records.calls[-1].feedback
    assert (given.score, given.comment, given.user) == (0.0, "wrong city", "eve")
    assert "wrong city" in viewer.get(f"/calls/{call.id}").words
    viewer.get("/")
    assert viewer.post(f"/calls/{call.id}/feedback", {"score": "1"}).status == 403
    assert control.people.entries[-1].outcome == "refused"


def test_feedback_by_htmx_answers_with_the_part(editor, control):
    call = control.records.calls[-1]
    editor.get(f"/calls/{call.id}")
    page = editor.post(f"/calls/{call.id}/feedback", {"score": "1", "correction": "42"}, hx_request="true")
    assert page.status == 200
    assert page.text.lstrip().startswith('<div id="feedback"')
    assert "42" in page.text


@pytest.mark.parametrize(
    "fields", [{}, {"score": "x"}, {"score": "nan"}, {"score": "inf"}, {"name": "thumbs"}]
)
def test_feedback_that_says_nothing_is_refused(editor, control, fields):
    call = control.records.calls[-1]
    editor.get(f"/calls/{call.id}")
    assert editor.post(f"/calls/{call.id}/feedback", fields).status == 400
    assert not control.records.calls[-1].feedback


def test_the_waterfall_keeps_to_its_scale(control):
    for call in control.records.calls:
        drawn = waterfall(call)
        if drawn is None:
            continue
        assert all(0 <= bar.x <= 400 and bar.x + bar.width <= 402 for bar in drawn.bars)
        assert 1 <= len(drawn.ticks) <= 5


# Sessions


def test_a_session_reads_as_one_conversation(viewer):
    def said(*texts):
        roles = ("user", "assistant")
        return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]

    calls = [
        finished(
            opened_at(NOW_US - (9 - at) * 1_000_000, {"messages": said(*texts)}, model="m/x", prompt="", number=1,
                      session="a/b c", project="default"),
            latency_us=1000, answer=answer_of(answer),
        )
        for at, (texts, answer) in enumerate([
            (("first question",), "first answer"),
            (("first question", "first answer", "second question"), "second answer"),
        ])
    ]  # fmt: skip
    control = FakeControl(calls, now_us=NOW_US)
    browser = signed_in(console_over(control), control, "viewer")
    page = browser.get("/sessions/one?session=a%2Fb+c")
    for text in ("first question", "first answer", "second question", "second answer"):
        assert page.words.count(text) == 1
    assert "a%2Fb+c" in browser.get("/sessions").text


def test_turns_that_stood_there_before_are_known_by_what_they_say(control):
    turns = request_turns(control.records.calls[0])
    assert new_turns(turns, turns) == []
    assert new_turns(turns, []) == turns


@pytest.mark.parametrize("path", ["/sessions/one", "/sessions/one?session=none", "/sessions/one?session="])
def test_a_session_that_is_not_there_is_a_404(viewer, path):
    assert viewer.get(path).status == 404


# Cost


@pytest.mark.parametrize("path", ["/", "/?range=30d", "/calls", "/calls?live=1", "/sessions"])
def test_a_page_asks_for_bounded_work(control, admin, path):
    """Sums come from rollups, lists from keys: no page reads more than two pages of calls."""
    control.records.asked.clear()
    assert admin.get(path).status == 200
    assert sum(query.limit for query in control.records.asked) <= 100


def test_the_live_tails_pauses_leave_most_of_its_second_to_work():
    """The longest that a call can wait for somebody who sleeps, from its end to the look that finds it."""
    asleep_s = Pause.LONGEST_S + max(LOOK_S, POLL_S)
    assert asleep_s <= 0.5
    assert LOOK_S < HOLD_S < 1, "a held request must look again, and end well before anybody gives up on it"


def test_a_call_that_ends_while_a_request_is_held_is_in_its_answer(control):
    """The tail asks twice a second, and yet finds what happens in between."""
    app = console_over(control)
    viewer = signed_in(app, control, "viewer")
    poll = html.unescape(re.search(r'hx-get="([^"]*)"', viewer.get("/calls?live=1").text)[1])
    assert viewer.get(poll).status == 204
    find, looks = control.records.find, []

    async def later(query, *, payload):
        looks.append(query)
        if len(looks) == 2:
            control.records.calls.pop()
        return await find(query, payload=payload)

    control.records.find = later
    page = viewer.get(poll)
    assert page.status == 200
    assert 2 <= len(looks) <= 4
