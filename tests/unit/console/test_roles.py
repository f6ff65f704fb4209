"""Who may do what: on every route of the console, and in every page's forms."""

import html
import re

import pytest

from rigs.browse import signed_in
from trimtab.console.pages import ROUTES
from trimtab.types import ROLES

PLACES = {
    "/alerts/": "errors",
    "/webhooks/": "ops",
    "/keys/": "key_0198c0ffee01",
    "/projects/": "default",
    "/users/": "eve",
    "/providers/": "anthropic",
}
GUARDED = [route for route in ROUTES if route.role not in ("anyone", "viewer")]
SHARED = {"/preferences", "/sign-out", "/account/password"}
"""Forms that everybody has: of the shell, and of one's own account."""
OWN = ("/calls", "/sessions", "/views", "/feedback", "/tail")
"""Beginnings of forms with which viewers keep things of their own."""


def address(route):
    place = next((value for start, value in PLACES.items() if route.path.startswith(start)), "data.payload")
    return re.sub(r"\{\w+\}", place, route.path)


def below(role):
    return ROLES[: ROLES.index(role)]


@pytest.mark.parametrize(
    ("route", "role"),
    [(route, role) for route in GUARDED for role in below(route.role)],
    ids=lambda value: value if isinstance(value, str) else f"{value.method} {value.path}",
)
def test_a_lesser_role_is_refused_and_the_try_is_noted(app, control, route, role):
    browser = signed_in(app, control, role)
    before = len(control.people.entries)
    page = browser.get(address(route)) if route.method == "GET" else browser.post(address(route))
    assert page.status == 403
    noted = control.people.entries[before:]
    assert [(entry.role, entry.outcome) for entry in noted] == [(role, "refused")]


def test_whatever_changes_something_takes_at_least_an_editor():
    open_to_viewers = {route.path for route in ROUTES if route.method == "POST" and route.role == "viewer"}
    assert {path for path in open_to_viewers if not path.startswith(OWN)} <= SHARED


@pytest.mark.parametrize("role", ROLES)
def test_a_page_shows_no_form_and_no_link_that_the_role_may_not_use(app, control, role):
    browser = signed_in(app, control, role)
    pages = [route for route in ROUTES if route.method == "GET" and role in admitted(route.role)]
    for route in pages:
        page = browser.get(address(route))
        if page.status != 200 or "text/html" not in page.headers.get("content-type", ""):
            continue
        text = html.unescape(page.text)
        wanted = [("POST", path) for path in re.findall(r'<form method="post" action="([^"?]+)', text)]
        wanted += [("GET", path) for path in re.findall(r'<a [^>]*href="(/[^"?#]*)', text)]
        for method, path in wanted:
            led_to = next((r for r in ROUTES if r.method == method and r.pattern.fullmatch(path)), None)
            assert led_to, f"{route.path} leads to {method} {path}, and nothing is there"
            assert role in admitted(led_to.role), f"{route.path} offers {method} {path} to a {role}"


def admitted(least):
    return ROLES if least == "anyone" else ROLES[ROLES.index(least) :]


def test_a_form_without_its_token_changes_nothing(admin, control):
    for route in ROUTES:
        if route.method == "POST":
            generation = control.machine.generation
            assert admin.post(address(route), {"csrf": "0" * 64}).status == 403
            assert control.machine.generation == generation
