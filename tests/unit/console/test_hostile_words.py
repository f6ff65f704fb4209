"""Stored XSS: whatever a caller or a model wrote, and wherever it is shown, nothing of it runs."""

import time

import msgspec
import pytest

from rigs.browse import signed_in
from rigs.console_up import console_over
from rigs.fake_control import FakeControl
from rigs.hostile import PAYLOADS, looked_at
from rigs.sample_day import NOW_US, answer_of, finished, opened_at
from rigs.sample_traces import AGENT, moved_into, spans_at
from trimtab.console.content.conversation import answer_turns, pretty, preview, request_turns
from trimtab.console.content.markdown import MOST_CHARACTERS, plain, render
from trimtab.types import Attempt, FeedbackGiven, new_id

MARKDOWN = {"p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a", "h4", "h5", "h6",
            "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip


def hostile_call(text):
    """Return a call with the text in every field that a page shows."""
    messages = [
        {"role": "system", "content": text},
        {"role": text, "name": text, "content": text},
        {"role": "user", "content": [{"type": "text", "text": text}, {"type": text, text: text},
                                     {"type": "image_url", "image_url": {"url": text}}, text]},
        {"role": "assistant", "content": None, "reasoning_content": text, "refusal": text,
         "tool_calls": [{"function": {"name": text, "arguments": text}}]},
        {"role": "tool", "content": text},
        {"role": "user", "content": text},
    ]  # fmt: skip
    body = {
        "model": text,
        "messages": messages,
        text: text,
        "stop": [text],
        "tools": [{"function": {"name": text}}],
    }
    labels = ("project", "route", "channel", "release", "arm", "model_asked", "key", "session", "user", "client",
              "trace_parent", "parent_call", "replay_of", "prompt_label", "epoch")  # fmt: skip
    opened = opened_at(
        NOW_US - 60_000_000, body, model=text, prompt=text, number=1, tags=(text, text),
        variables=msgspec.json.encode({text: text}), **dict.fromkeys(labels, text),
    )  # fmt: skip
    call = finished(opened, latency_us=900_000, answer=answer_of(text, reasoning_content=text))
    closed = msgspec.structs.replace(
        call.closed, error_code=text, error_message=text, model=text, model_served=text, provider=text,
        provider_response_id=text, provider_request_id=text, fingerprint=text, finish_reason=text,
        price_version=text, attempts=(Attempt(text, 10, 1000, text, 500),), state="error",
    )  # fmt: skip
    given = FeedbackGiven(new_id(), call.id, NOW_US, "default", text, 1.0, text, text, text, text, text)
    return msgspec.structs.replace(call, closed=closed, state="error", feedback=(given, given))


def benign_tags(path_of):
    return pages_with("plain words", path_of).tags


def pages_with(text, path_of):
    calls = [hostile_call(text), moved_into(hostile_call(text), 2, NOW_US)]
    control = FakeControl(calls, now_us=NOW_US)
    facts = {text: text, "more": {text: [text]}}
    plan = [(1, 0, text, 0, 5000, text, facts), (2, 1, text, 0, 5000, text, facts)]
    control.records.spans = spans_at(NOW_US - 1, plan, project=text, key=text)
    browser = signed_in(console_over(control), control, "admin")
    page = browser.get(path_of(control.records.calls[0]))
    assert page.status == 200
    return looked_at(page.text)


PLACES = {
    "home": lambda call: "/",
    "calls": lambda call: (
        "/calls?cols=time,state,model,words,user,session,key,project,route,prompt,tags,finish,id"
    ),
    "call": lambda call: f"/calls/{call.id}",
    "traces": lambda call: "/traces",
    "trace": lambda call: f"/traces/{AGENT}",
    "sessions": lambda call: "/sessions",
    "session": lambda call: "/sessions/one?session=" + quote(call.opened.session),
}


def quote(text):
    from urllib.parse import quote

    return quote(text, safe="")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", PAYLOADS, ids=range(len(PAYLOADS)))
def test_nothing_that_was_recorded_runs(text, place):
    found = pages_with(text, PLACES[place])
    assert not found.wrong
    assert found.tags <= benign_tags(PLACES[place]) | MARKDOWN


def test_there_are_fifty_payloads():
    assert len(set(PAYLOADS)) >= 50


@pytest.mark.parametrize("text", PAYLOADS, ids=range(len(PAYLOADS)))
def test_markdown_gives_what_the_list_names(text):
    found = looked_at(render(text))
    assert not found.wrong
    assert found.tags <= MARKDOWN
    allowed = {("a", "href"), ("a", "rel"), ("a", "target"), ("ol", "start"), ("td", "class"), ("th", "class"),
               ("code", "class"), ("p", "class")}  # fmt: skip
    assert found.attributes <= allowed


@pytest.mark.parametrize("text", PAYLOADS, ids=range(len(PAYLOADS)))
def test_an_address_with_hostile_filters_is_harmless_too(text, viewer):
    for name in (
        "text",
        "model",
        "user",
        "tag",
        "project",
        "range",
        "before",
        "cols",
        "state",
        "live",
        "nothing",
    ):
        found = looked_at(viewer.get(f"/calls?{name}={quote(text)}").text)
        assert not found.wrong


@pytest.mark.parametrize("text", PAYLOADS[:12], ids=range(12))
def test_hostile_names_of_views_and_feedback_are_text(text, editor, control):
    editor.get("/calls?state=error")
    editor.post("/views", {"name": text, "query": "state=error"})
    assert not looked_at(editor.get("/calls").text).wrong
    call = control.records.calls[-1]
    editor.post(
        f"/calls/{call.id}/feedback", {"name": text, "comment": text, "correction": text, "score": "1"}
    )
    assert not looked_at(editor.get(f"/calls/{call.id}").text).wrong
    part = editor.post(f"/calls/{call.id}/feedback", {"comment": text}, hx_request="true")
    assert not looked_at(part.text).wrong


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("**bold** and *soft*", "<strong>bold</strong> and <em>soft</em>"),
        ("# Title", "<h4>Title</h4>"),
        ("```python\nx = 1\n```", '<code class="language-python">x = 1'),
        ("[x](https://ok.example/a?b=1)", 'rel="noopener noreferrer nofollow ugc"'),
        ("3. three", '<ol start="3">'),
        ("| a |\n|--:|\n| 1 |", '<td class="num">1</td>'),
        ("日本語 **太字**", "<strong>太字</strong>"),
        ("1 < 2 && x", "1 &lt; 2 &amp;&amp; x"),
        ("<b>not bold</b>", "&lt;b&gt;not bold&lt;/b&gt;"),
    ],
)
def test_harmless_markdown_is_rendered(text, holds):
    assert holds in render(text)


def test_what_is_too_long_is_shown_as_it_is():
    assert "<strong>" not in render("**x** " * MOST_CHARACTERS)
    assert plain("a\n<b>") == '<p class="as-is">a\n&lt;b&gt;</p>'


@pytest.mark.parametrize(
    "piece",
    ["[", "![", "*a ", "**", "_", "`", "<", "> ", "- ", "[a](", "((", "~~", "| a ", "\\", "&#", "1. ", "]("],
)
def test_markdown_takes_bounded_time_whatever_stands_in_it(piece):
    """A second is far above what any of these takes, and far below what a quadratic one would on this length."""
    text = (piece * MOST_CHARACTERS)[:MOST_CHARACTERS]
    started = time.process_time()
    render(text)
    render("\n".join(piece * 40 for _ in range(MOST_CHARACTERS // (40 * len(piece) + 1))))
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"null", b"[]", b"{}", b"3", b'"x"', b"{", b"\xff\xfe", b'{"messages": 3}',
        b'{"messages": [3, null, "x"]}',
        b'{"messages": [{"content": {"a": 1}}]}', b'{"messages": [{"role": ["x"], "content": [[1], 2, null, "t"]}]}',
        b'{"messages": [{"role": "user", "content": [{"type": {"a": 1}, "image_url": ["x"]}]}]}',
        b'{"messages": [{"tool_calls": [{"function": {"name": {"a": 1}, "arguments": {"b": 2}}}]}]}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}', b'{"choices": [{"message": "x"}, 3, {"text": "t"}]}',
        b'{"input": [[1, 2], [3]]}', b'{"prompt": ["a", "b"]}', b"[" * 5000 + b"]" * 5000, b"\x00" * 32,
        b'{"data": 3}', b'{"messages": [{"role": "tool", "content": [{"text": 3}]}]}',
    ],
)  # fmt: skip
def test_no_payload_breaks_the_page(raw, control, admin):
    call = control.records.calls[-1]
    opened = msgspec.structs.replace(call.opened, request=raw, variables=raw)
    broken = finished(opened, latency_us=5, answer={})
    broken = msgspec.structs.replace(broken, closed=msgspec.structs.replace(broken.closed, response=raw))
    control.records.calls[-1] = broken
    request_turns(broken), answer_turns(broken), preview(broken), pretty(raw)
    for path in (
        f"/calls/{call.id}",
        "/calls",
        f"/sessions/one?session={opened.session or 'none'}",
        "/calls.csv",
    ):
        assert admin.get(path).status in (200, 404), path
