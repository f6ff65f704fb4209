"""What people do in the console, by mouse and keyboard, in a browser."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from rigs.browser import Look, Watch, watched
from rigs.console_up import serving
from rigs.fake_control import TOKEN, FakeControl
from rigs.sample_day import full_control

pytestmark = pytest.mark.browser


@pytest.fixture
def control() -> FakeControl:
    return full_control(200)


@pytest.fixture
def url(control) -> Iterator[str]:
    with serving(control) as url:
        yield url


@pytest.fixture
def watch(browser, url) -> Iterator[Watch]:
    """A tab in which the installation's token has signed in."""
    with watched(browser, Look()) as watch:
        watch.sign_in(url, TOKEN)
        yield watch


@pytest.fixture
def page(watch) -> Page:
    return watch.page


@pytest.mark.slow
def test_the_token_leaves_no_trace_in_the_address(watch, page, url):
    assert page.url == f"{url}/"
    assert TOKEN not in json.dumps(watch.asked)
    page.go_back()
    assert TOKEN not in page.url


@pytest.mark.slow
def test_name_and_password_sign_in_and_out(browser, url):
    with watched(browser, Look()) as watch:
        page = watch.page
        watch.refusals = {401}
        page.goto(f"{url}/keys")
        page.fill("#name", "vic")
        page.fill("#password", "wrong")
        page.click("form:has(#name) button.primary")
        expect(page.get_by_role("alert")).to_be_visible()
        page.fill("#password", "tractor paste")
        page.click("form:has(#name) button.primary")
        expect(page).to_have_url(f"{url}/keys")
        page.click("form[action='/sign-out'] button:not([type='button'])")
        expect(page).to_have_url(f"{url}/sign-in")


@pytest.mark.slow
def test_language_and_appearance_stay_chosen(page, url):
    page.click("button[lang='ja']")
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    page.click("button[name='theme'][value='dark']")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto(f"{url}/keys")
    expect(page.locator("h1")).to_have_text("キー")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_key_is_made_copied_and_revoked(watch, page, url, control):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    page.goto(f"{url}/keys/-/new")
    page.fill("#f-name", "night-batch")
    page.select_option("#f-payload", "none")
    page.get_by_role("button", name="Make the key").dblclick()
    shown = page.locator("#new-key")
    expect(shown).to_be_visible()
    watch.look_over()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == shown.text_content()
    assert [key.name for key in control.objects._keys.values()].count("night-batch") == 1
    page.goto(f"{url}/keys")
    row = page.locator("tr", has_text="night-batch")
    row.get_by_role("button", name="Revoke").click()
    watch.look_over()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("button", name="Revoke the key").click()
    expect(page.get_by_role("status")).to_contain_text("revoked")
    expect(page.locator("tr", has_text="night-batch")).to_have_count(0)


def test_a_wrong_form_says_so_at_the_field(watch, page, url):
    watch.refusals = {422}
    page.goto(f"{url}/projects/-/new")
    page.fill("#f-name", "Not A Name")
    page.get_by_role("button", name="Make the project").click()
    expect(page.locator("#f-name")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#f-name")).to_have_value("Not A Name")
    watch.look_over()
    page.fill("#f-name", "voice")
    page.get_by_role("button", name="Make the project").click()
    expect(page.locator("tr", has_text="voice")).to_be_visible()


@pytest.mark.slow
def test_a_project_goes_once_its_name_is_typed(watch, page, url, control):
    watch.refusals = {422}
    page.goto(f"{url}/projects/shop")
    page.fill("#f-typed", "shoo")
    page.get_by_role("button", name="Remove project and calls").click()
    expect(page.locator("#f-typed-problem")).to_be_visible()
    page.fill("#f-typed", "shop")
    page.get_by_role("button", name="Remove project and calls").click()
    expect(page.get_by_role("status")).to_contain_text("removed")
    assert "shop" not in control.objects._projects


@pytest.mark.slow
def test_a_provider_is_tested_in_place_added_rotated_removed(watch, page, url, control):
    page.goto(f"{url}/providers")
    page.get_by_role("button", name="Test openai").click()
    expect(page.locator("tr", has_text="openai").first).to_contain_text("Answered in 212 ms")
    assert page.url == f"{url}/providers"
    watch.look_over()
    page.get_by_role("link", name="New provider").click()
    page.fill("#f-name", "lab")
    page.fill("#f-base_url", "https://llm.example.org/v1")
    page.fill("#f-api_key", "sk-first-key-0001")
    page.get_by_role("button", name="Add the provider").click()
    expect(page.locator("h1")).to_have_text("lab")
    page.fill("#f-api_key", "sk-second-key-0002")
    page.get_by_role("button", name="Use the new key").click()
    expect(page.get_by_role("status")).to_contain_text("new key")
    assert control.objects._providers["lab"].key_hint == "…0002"
    page.fill("#f-typed", "lab")
    page.get_by_role("button", name="Remove the provider").click()
    expect(page.get_by_role("status")).to_contain_text("removed")


@pytest.mark.slow
def test_a_user_is_added_changed_disabled_removed(watch, page, url, control):
    page.goto(f"{url}/users/-/new")
    page.fill("#f-name", "kenji")
    page.fill("#f-password", "long enough, this")
    page.fill("#f-password_again", "long enough, this")
    page.get_by_role("button", name="Add the user").click()
    page.get_by_role("link", name="kenji").click()
    page.select_option("#f-role", "editor")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_be_visible()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Enable")).to_be_visible()
    watch.look_over()
    assert control.people._users["kenji"].disabled
    page.fill("#f-typed", "kenji")
    page.get_by_role("button", name="Remove the user").click()
    expect(page.get_by_role("link", name="kenji")).to_have_count(0)


@pytest.mark.slow
def test_a_setting_is_changed_and_its_history_shows_it(watch, page, url):
    page.goto(f"{url}/settings")
    form = page.locator(".setting", has_text="data.payload")
    form.locator("select").select_option("hash")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Set data.payload back to its default")).to_be_visible()
    page.get_by_role("link", name="History", exact=True).click()
    expect(page.locator("tbody tr").first.locator("del")).to_have_text("full")
    expect(page.locator("tbody tr").first.locator("ins")).to_have_text("hash")
    watch.look_over()


@pytest.mark.slow
def test_the_audit_log_is_filtered_and_turned_over(page, url):
    page.goto(f"{url}/audit")
    page.fill("#a-actor", "eve")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(f"{url}/audit?actor=eve")
    first = page.locator("tbody tr").first.text_content()
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr").first).not_to_have_text(first or "")
    page.get_by_role("link", name="Newest").click()
    expect(page.locator("tbody tr").first).to_have_text(first or "")


@pytest.mark.slow
def test_health_follows_what_happens(browser, url, control):
    with watched(browser, Look()) as watch:
        page = watch.page
        page.clock.install()
        watch.sign_in(url, TOKEN)
        page.goto(f"{url}/health")
        expect(page.get_by_role("status")).to_contain_text("Everything runs")
        control.machine.unrecorded = 5
        page.clock.fast_forward(5500)
        expect(page.get_by_role("status")).to_contain_text("5 records could not be written")
        watch.look_over()


@pytest.mark.slow
def test_a_person_is_erased_after_a_look(watch, page, url, control):
    user = next(call.opened.user for call in control.records.calls if call.opened.user)
    page.goto(f"{url}/privacy")
    page.fill("#f-e-user", user)
    page.get_by_role("button", name="Show what would go").click()
    expect(page.locator("#preview")).to_contain_text("calls")
    assert page.url == f"{url}/privacy"
    watch.look_over()
    page.fill("#f-typed", user)
    page.get_by_role("button", name="Erase for good").click()
    expect(page.locator("h1")).to_have_text("Erased")
    watch.look_over()
    assert not any(call.opened.user == user for call in control.records.calls)


@pytest.mark.slow
def test_calls_are_downloaded_and_a_backup_is_made(watch, page, url, control):
    page.goto(f"{url}/privacy")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").click()
    lines = waiting.value.path().read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(control.records.calls)
    page.fill("#f-target", "/backups/monday")
    page.get_by_role("button", name="Back up now").click()
    expect(page.locator("h1")).to_have_text("The backup is written")
    watch.look_over()


def test_the_keyboard_goes_everywhere(watch, page, url):
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    watch.look_over()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("k")
    expect(page).to_have_url(f"{url}/keys")
    page.goto(f"{url}/projects")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{url}/projects/shop")
    page.wait_for_load_state()
    page.keyboard.press("u")
    expect(page).to_have_url(f"{url}/projects")


def test_forms_work_without_scripts(browser, url, control):
    with watched(browser, Look(), scripts=False) as watch:
        page = watch.page
        page.goto(f"{url}/keys/-/new")
        page.fill("#name", "eve")
        page.fill("#password", "battery staple")
        page.click("form:has(#name) button.primary")
        page.fill("#f-name", "plain")
        page.get_by_role("button", name="Make the key").click()
        expect(page.locator("#new-key")).to_be_visible()
        page.goto(f"{url}/keys")
        page.locator("tr", has_text="plain").get_by_role("button", name="Revoke").click()
        page.get_by_role("button", name="Revoke the key").click()
        expect(page.locator("tr", has_text="plain")).to_have_count(0)
        page.goto(f"{url}/providers")
        page.get_by_role("button", name="Test openai").click()
        expect(page.locator("#tested")).to_contain_text("Answered in 212 ms")
