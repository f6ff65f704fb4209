"""What the watching pages do in a browser beyond being there: tail, keys, charts, feedback without a reload."""

import pytest

from rigs.browser import Look, watched
from rigs.console_up import serving
from rigs.fake_control import TOKEN
from rigs.sample_day import NOW_US, answer_of, finished, full_control, opened_at

pytestmark = pytest.mark.browser


@pytest.fixture
def control():
    return full_control(120)


@pytest.fixture
def watch(browser, control):
    with serving(control) as url, watched(browser, Look()) as watch:
        watch.url = url
        watch.sign_in(url, TOKEN)
        yield watch


def new_call(question, at_us):
    body = {"messages": [{"role": "user", "content": question}]}
    opened = opened_at(at_us, body, model="openai/gpt-4o", prompt="", number=1)
    return finished(opened, latency_us=90_000, answer=answer_of("yes"))


def test_the_token_leaves_the_address_bar_and_the_history(watch):
    assert TOKEN not in watch.page.evaluate("location.href + document.referrer")
    watch.page.goto(f"{watch.url}/calls")
    watch.page.go_back()
    assert TOKEN not in watch.page.url
    assert not any(TOKEN in url for url in watch.asked if "#" not in url)


def test_a_call_shows_in_the_live_tail_by_itself(watch, control):
    watch.page.goto(f"{watch.url}/calls")
    watch.page.click("text=Live")
    watch.page.wait_for_selector("tbody.live")
    watch.page.evaluate("window.stayed = true")
    for at in range(3):
        call = new_call(f"asked just now {at}", NOW_US + at * 1000)
        control.records.calls.append(call)
        watch.page.wait_for_selector(f"#c-{call.id}.new", timeout=3000)
        first = watch.page.locator("tbody tr").first
        assert first.get_attribute("id") == f"c-{call.id}"
        assert f"asked just now {at}" in first.inner_text()
    assert watch.page.evaluate("window.stayed")
    assert watch.page.locator("tbody tr").count() == 50


def test_the_keyboard_walks_the_list_and_the_calls(watch, control):
    page = watch.page
    page.goto(f"{watch.url}/calls?state=ok")
    ids = [row.get_attribute("id")[2:] for row in page.locator("tbody tr").all()]
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.locator("tr.marked").get_attribute("id") == f"c-{ids[1]}"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/calls/{ids[1]}?state=ok")
    page.keyboard.press("j")
    page.wait_for_url(f"**/calls/{ids[2]}?state=ok")
    page.keyboard.press("k")
    page.wait_for_url(f"**/calls/{ids[1]}?state=ok")
    page.keyboard.press("u")
    page.wait_for_url("**/calls?state=ok")
    page.keyboard.press("/")
    page.keyboard.type("jk?")
    assert page.locator("input[type=search]").input_value() == "jk?"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    watch.look_over()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/sessions")


def test_the_charts_are_drawn_and_tell_what_changed(watch):
    page = watch.page
    page.goto(f"{watch.url}/?range=24h")
    page.wait_for_selector(".full canvas")
    assert page.locator("canvas").count() == 3
    over = page.locator(".full .u-over")
    box = over.bounding_box()
    texts = set()
    for step in range(0, int(box["width"]), 6):
        page.mouse.move(box["x"] + step, box["y"] + 40)
        texts.add(page.locator(".full .plot-note").inner_text())
    assert "Key made: web-shop" in texts
    painted = page.evaluate(
        "[...document.querySelectorAll('canvas')].map(c => "
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v))"
    )
    assert painted == [True, True, True]


def test_feedback_is_given_without_a_reload(watch, control):
    call = control.records.calls[-1]
    page = watch.page
    page.goto(f"{watch.url}/calls/{call.id}")
    page.evaluate("window.stayed = true")
    page.check("text=Bad")
    page.fill("#comment", "<b>not</b> what I asked")
    page.click("text=Record")
    page.wait_for_selector("#feedback [role=status]")
    assert "<b>not</b> what I asked" in page.locator("#feedback .given").inner_text()
    assert page.evaluate("window.stayed")
    assert control.records.calls[-1].feedback[0].score == 0.0
    watch.look_over()


def test_filters_views_and_columns_by_hand(watch, control):
    page = watch.page
    page.goto(f"{watch.url}/calls")
    page.fill("input[name=text]", "配送")
    page.click("button.primary:has-text('Filter')")
    page.wait_for_url("**/calls?text=**")
    assert "state=" not in page.url  # what is empty stays out of the address
    page.click("text=Columns")
    page.check(".checks >> text=User")
    page.click("text=Apply")
    page.wait_for_selector("th:has-text('User')")
    page.click("text=Save as a view")
    page.fill("#view-name", "配送")
    page.click("text=Save >> nth=-1")
    page.wait_for_selector(".chip.view")
    watch.look_over()
    page.on("dialog", lambda dialog: dialog.accept())
    page.click(".chip.view button")
    page.wait_for_selector("text=The view is removed.")
    assert not control.objects._views


def test_on_a_narrow_screen_the_menu_opens(browser, control):
    with serving(control) as url, watched(browser, Look(width=390)) as watch:
        watch.sign_in(url, TOKEN)
        assert not watch.page.locator("nav >> text=Calls").is_visible()
        watch.page.click("[data-menu]")
        watch.look_over()
        watch.page.click("nav >> text=Calls")
        watch.page.wait_for_url("**/calls")


def test_the_project_switch_keeps_to_the_page(watch):
    watch.page.goto(f"{watch.url}/calls")
    watch.page.select_option("#project", "shop")
    watch.page.wait_for_url("**/calls?project=shop")


def test_a_page_of_another_origin_cannot_frame_or_post(browser, control):
    """The browser itself keeps to our headers: a frame stays empty, a form of a stranger's page is refused."""
    with serving(control) as url, watched(browser, Look()) as watch:
        watch.sign_in(url, TOKEN)
        watch.refusals = {403}
        watch.page.goto("about:blank")
        watch.page.set_content(
            f'<form method="post" action="{url}/sign-out"><button>x</button></form><iframe src="{url}/"></iframe>'
        )
        frame = watch.page.frames[1]
        assert "Calls" not in (frame.locator("body").inner_text() if frame.url.startswith(url) else "")
        with watch.page.expect_response("**/sign-out") as answered:
            watch.page.click("button")
        assert answered.value.status == 403
        watch.faults.clear()  # that the policy stopped the frame is said in the console, as it should be
        watch.page.goto(f"{url}/")
        assert watch.page.locator(".who-name").inner_text() == "admin-token"
