"""What holds for every form: said at the field, nothing lost, sent once, no secret comes back."""

import asyncio
import re

import pytest
from starlette.responses import Response

from trimtab.console.once import Once
from trimtab.types import Overloaded, StorageError


def field(page, name):
    """Return what a page says of a field: its tag, and the problem that its description points to."""
    tag = re.search(rf'<(?:input|select|textarea)[^>]*\bname="{name}"[^>]*>', page.text)
    assert tag, f"no field {name!r}"
    ids = re.search(r'aria-describedby="([^"]*)"', tag[0])
    problems = [
        re.sub("<[^>]*>", "", found[1])
        for one in (ids[1].split() if ids else [])
        if one.endswith("-problem")
        and (found := re.search(rf'id="{re.escape(one)}"[^>]*>(.*?)</p>', page.text))
    ]
    return tag[0], "".join(problems)


def test_a_problem_stands_at_its_field_and_what_was_typed_stays(editor):
    editor.get("/projects/-/new")
    page = editor.post(
        "/projects/-/new", {"name": "My Project!", "title": "Mine", "payload": "hash", "retention_days": "x"}
    )
    assert page.status == 422
    tag, problem = field(page, "name")
    assert "letters" in problem
    assert 'aria-invalid="true"' in tag
    assert 'value="My Project!"' in tag
    assert "whole number" in field(page, "retention_days")[1]
    assert 'aria-invalid="false"' in field(page, "title")[0]
    assert re.search(r'<option value="hash" selected', page.text)


def test_what_the_control_process_refuses_stands_at_the_field_it_names(editor):
    page = editor.post("/projects/-/new", {"name": "Upper", "payload": "full"})
    assert page.status == 422
    assert "small letters" in field(page, "name")[1]


def test_problems_are_told_in_the_visitors_language(editor):
    editor.cookies["trimtab_language_8401"] = "ja"
    page = editor.post("/projects/-/new", {"name": "", "payload": "full"})
    assert "入力してください" in field(page, "name")[1]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (
            "/users/-/new",
            {"name": "!", "role": "viewer", "password": "S3cret-word-here", "password_again": "S3cret-word-here"},
        ),
        ("/users/eve/password", {"password": "S3cret-word-here", "password_again": "S3cret-other-one"}),
        ("/providers/-/new", {"name": "!", "kind": "openai", "api_key": "S3cret-word-here"}),
    ],
)  # fmt: skip
def test_a_secret_never_comes_back(admin, path, fields):
    page = admin.post(path, fields)
    assert page.status == 422
    assert "S3cret" not in page.text


def once_of(page):
    return re.search(r'name="once" value="([^"]+)"', page.text)[1]


def test_a_form_sent_twice_does_its_work_once_and_answers_alike(editor, control):
    once = once_of(editor.get("/keys/-/new"))
    fields = {"name": "twice", "project": "default", "payload": "", "once": once}
    first, second = editor.post("/keys/-/new", fields), editor.post("/keys/-/new", fields)
    shown = [re.search(r'id="new-key"[^>]*>(tt-[^<]+)<', page.text)[1] for page in (first, second)]
    assert shown[0] == shown[1]
    assert [key.name for key in control.objects._keys.values()].count("twice") == 1


def test_a_form_that_was_refused_can_be_sent_again_mended(editor, control):
    once = once_of(editor.get("/projects/-/new"))
    assert editor.post("/projects/-/new", {"name": "", "payload": "full", "once": once}).status == 422
    assert editor.post("/projects/-/new", {"name": "mended", "payload": "full", "once": once}).status == 303
    assert "mended" in control.objects._projects


def test_two_forms_of_one_page_are_two(admin, control):
    once = once_of(admin.get("/settings"))
    assert admin.post("/settings/data.payload", {"value": "none", "once": once}).status == 303
    assert admin.post("/settings/data.payload", {"value": "hash", "once": once}).status == 303
    assert control.objects._settings["data.payload"].value == "hash"


def test_a_double_click_waits_for_the_first():
    async def run():
        once, done, go = Once(), [], asyncio.Event()

        async def work():
            done.append(1)
            await go.wait()
            return Response("made")

        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(once.answer("form", work, lambda: Response("again"))) for _ in range(2)]
            await asyncio.sleep(0)
            go.set()
        return done, [task.result().body for task in both]

    assert asyncio.run(run()) == ([1], [b"made", b"made"])


@pytest.mark.parametrize(
    ("ends", "told"), [(StorageError("full"), StorageError), (asyncio.CancelledError(), Overloaded)]
)
def test_a_double_click_on_a_form_that_fails_is_not_told_that_it_was_done(ends, told):
    async def run():
        once, go = Once(), asyncio.Event()

        async def fail():
            await go.wait()
            raise ends

        both = [
            asyncio.create_task(once.answer("form", fail, lambda: Response("done already"))) for _ in range(2)
        ]
        await asyncio.sleep(0)
        go.set()
        _, second = await asyncio.gather(*both, return_exceptions=True)
        return second

    assert isinstance(asyncio.run(run()), told)


def test_work_that_fails_leaves_the_form_free():
    async def fail():
        raise RuntimeError("no")

    async def work():
        return Response("made")

    async def run():
        once = Once()
        with pytest.raises(RuntimeError):
            await once.answer("form", fail, lambda: Response("again"))
        return (await once.answer("form", work, lambda: Response("again"))).body

    assert asyncio.run(run()) == b"made"


def test_an_answer_that_may_hold_a_key_is_soon_forgotten(monkeypatch):
    monkeypatch.setattr("trimtab.console.once.ANSWER_S", 0.01)

    async def work():
        return Response("tt-secret")

    async def run():
        once = Once()
        await once.answer("form", work, lambda: Response("again"))
        async with asyncio.timeout(5):
            while (await once.answer("form", work, lambda: Response("again"))).body != b"again":
                await asyncio.sleep(0.01)

    asyncio.run(run())
