"""The shell: who gets in, what every answer carries, how a form is told from a forgery."""

import pytest

from rigs.browse import PORT, Browser
from rigs.console_up import console_over
from rigs.fake_control import TOKEN
from trimtab.console.pages import ROUTES
from trimtab.console.security import local_path
from trimtab.types import ROLES

SESSION = f"trimtab_session_{PORT}"


def paths(method):
    return [route.path.replace("{", "x-").replace("}", "") for route in ROUTES if route.method == method]


def test_a_stranger_is_sent_to_the_sign_in_and_back(stranger):
    page = stranger.get("/?range=7d")
    assert (page.status, page.headers["location"]) == (303, "/sign-in?next=%2F%3Frange%3D7d")
    stranger.get(page.headers["location"])
    page = stranger.post("/sign-in", {"name": "vic", "password": "tractor paste", "next": "/?range=7d"})
    assert (page.status, page.headers["location"]) == (303, "/?range=7d")
    assert stranger.get("/").status == 200


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if r.role != "anyone"], ids=lambda r: f"{r.method} {r.path}"
)
def test_no_page_is_there_for_a_stranger(stranger, route):
    page = stranger.ask(route.method, route.path.replace("{", "").replace("}", ""))
    assert page.status == 303
    assert page.headers["location"].startswith("/sign-in")


def test_a_scripts_request_and_htmx_are_told_so_instead(stranger):
    assert stranger.get("/", sec_fetch_dest="empty").status == 401
    page = stranger.get("/", hx_request="true")
    assert (page.status, page.headers["hx-redirect"]) == (401, "/sign-in")


def test_the_token_signs_in_as_an_admin(stranger):
    stranger.get("/sign-in")
    page = stranger.post("/sign-in", {"token": f" {TOKEN} "})
    assert page.status == 303
    assert "admin-token" in stranger.get("/").words


@pytest.mark.parametrize(
    "fields",
    [{"token": "wrong"}, {"name": "vic", "password": "no"}, {"name": "nobody", "password": "no"}, {}],
)
def test_a_wrong_sign_in_says_so_and_opens_nothing(stranger, fields):
    stranger.get("/sign-in")
    page = stranger.post("/sign-in", fields)
    assert page.status == 401
    assert SESSION not in stranger.cookies
    for secret in fields.values():
        if secret not in ("no", "vic", "nobody"):
            assert secret not in page.words.replace("What is wrong", "")


def test_too_many_failures_are_told_apart(stranger):
    stranger.get("/sign-in")
    for _ in range(5):
        stranger.post("/sign-in", {"name": "vic", "password": "no"})
    assert stranger.post("/sign-in", {"name": "vic", "password": "tractor paste"}).status == 429


def test_a_session_planted_before_the_sign_in_is_not_the_one_after(stranger, control):
    """Session fixation: what a stranger set as a cookie never becomes a sign-in."""
    stranger.cookies[SESSION] = "planted"
    stranger.get("/sign-in")
    stranger.post("/sign-in", {"token": TOKEN})
    assert stranger.cookies[SESSION] != "planted"
    stranger.cookies[SESSION] = "planted"
    assert stranger.get("/").status == 303


def test_signing_in_anew_ends_the_sign_in_before(admin, app):
    before = admin.cookies[SESSION]
    admin.post("/sign-in", {"token": TOKEN})
    assert Browser(app, {SESSION: before}).get("/").status == 303


def test_signing_out_ends_it_at_the_server(admin, app):
    token = admin.cookies[SESSION]
    assert admin.post("/sign-out").status == 303
    assert SESSION not in admin.cookies
    assert Browser(app, {SESSION: token}).get("/").status == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(stranger):
    stranger.get("/sign-in")
    page = stranger.post("/sign-in", {"token": TOKEN})
    cookie = next(text for text in page.cookies if text.startswith(SESSION))
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nowhere", "/static/none/x.css"])
def test_every_answer_carries_the_headers(admin, path):
    page = admin.get(path)
    policy = page.headers["content-security-policy"]
    for part in ("default-src 'self'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
                 "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):  # fmt: skip
        assert part in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"


def test_pages_are_not_cached_and_files_are(admin):
    page = admin.get("/")
    assert page.headers["cache-control"] == "no-store"
    style = page.text.split('rel="stylesheet" href="')[2].split('"')[0]
    file = admin.get(style)
    assert "immutable" in file.headers["cache-control"]
    assert file.headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "vendor/../../words.py", ""])
def test_static_files_are_those_and_no_others(admin, path):
    folder = admin.get("/").text.split('href="/static/')[1].split("/")[0]
    assert admin.get(f"/static/{folder}/{path}").status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"x-forwarded-for": "1.2.3.4"}, 403),
        ({"host": ""}, 403),
        ({"host": "localhost:8401"}, 200),
        ({"host": "[::1]:8401"}, 200),
    ],
)
def test_on_loopback_the_host_must_be_loopback(admin, headers, status):
    assert admin.ask("GET", "/", headers).status == status


@pytest.mark.parametrize("path", paths("POST"))
@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"},
                {"origin": "http://127.0.0.1:9999"}]
)  # fmt: skip
def test_no_form_of_another_site_is_taken(admin, path, headers):
    assert admin.post(path, **headers).status == 403


@pytest.mark.parametrize("path", paths("POST"))
def test_no_form_without_its_token_is_taken(admin, stranger, path):
    stranger.get("/sign-in")
    for shown in ("", "0" * 64, stranger.csrf):
        assert admin.post(path, {"csrf": shown}).status == 403


def test_a_sign_in_needs_the_token_of_its_page_too(stranger):
    """Signing somebody in as somebody else is an attack as well (login CSRF)."""
    stranger.get("/sign-in")
    assert stranger.post("/sign-in", {"token": TOKEN, "csrf": "x"}).status == 403


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
def test_a_form_is_a_form(admin, kind):
    assert admin.post("/sign-out", content_type=kind, **{"content-type": kind}).status in (403, 415)


def test_a_link_from_another_site_gets_in_with_a_step_between(admin, app):
    """The browser holds a strict cookie back on such a request; the page that answers asks again by itself."""
    page = Browser(app).get("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")
    assert page.status == 200
    assert 'http-equiv="refresh"' in page.text


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "\\\\evil", "", "javascript:x",
     "/\r\nset-cookie: a=b", " //evil.example", "/%0d%0a\n"],
)  # fmt: skip
def test_no_redirect_leads_away(stranger, path):
    assert local_path(path) == "/"
    stranger.get("/sign-in")
    page = stranger.post("/sign-in", {"token": TOKEN, "next": path})
    assert page.headers["location"] == "/"


def test_language_and_theme_are_chosen_and_kept(admin):
    page = admin.post("/preferences", {"language": "ja", "back": "/?range=7d"})
    assert page.headers["location"] == "/?range=7d"
    assert '<html lang="ja"' in admin.get("/").text
    admin.post("/preferences", {"theme": "dark"})
    assert 'data-theme="dark"' in admin.get("/").text
    assert admin.post("/preferences", {"theme": "<b>"}).status == 400


def test_the_browsers_language_is_the_first_choice(stranger):
    page = stranger.get("/sign-in", accept_language="ja,en;q=0.5")
    assert '<html lang="ja"' in page.text


def test_what_is_not_there_is_said_on_a_page(admin, viewer):
    page = admin.get("/nowhere/<script>")
    assert page.status == 404
    assert "<script>" not in page.text.replace("<script src", "")
    assert admin.ask("DELETE", "/").status == 405


def test_head_answers_without_a_body(admin):
    page = admin.ask("HEAD", "/")
    assert (page.status, page.body) == (200, b"")


def test_every_route_has_a_role_and_no_path_two_meanings():
    assert {route.role for route in ROUTES} <= {*ROLES, "anyone"}
    named = [(route.method, route.path) for route in ROUTES]
    assert len(named) == len(set(named))
    assert {r.path for r in ROUTES if r.role == "anyone"} == {"/sign-in", "/preferences"}


def test_a_fault_of_ours_is_a_page_without_its_details(control, admin, caplog):
    async def broken(**_):
        raise ZeroDivisionError("secret detail")

    control.records.rollup = broken
    control.objects.projects = broken
    page = Browser(console_over(control), admin.cookies).get("/")
    assert page.status == 500
    assert "secret detail" not in page.text
