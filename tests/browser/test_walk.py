"""Every page of the console in a browser: in both languages, light and dark, wide and narrow, empty and full."""

import pytest

from rigs.browser import LOOKS, Look, watched
from rigs.console_up import serving
from rigs.fake_control import TOKEN
from rigs.places import PARTS, places
from rigs.sample_day import empty_control, full_control
from trimtab.console.pages import ROUTES

pytestmark = pytest.mark.browser

FAST = {(Look("ja", "dark", 390), "full")}
"""What every run of the tests walks; all the others are slow."""

WALKS = [
    pytest.param(look, data, id=f"{look}-{data}", marks=() if (look, data) in FAST else pytest.mark.slow)
    for look in LOOKS
    for data in ("full", "empty")
]


@pytest.mark.parametrize(("look", "data"), WALKS)
def test_every_page_is_without_fault(browser, shots, look, data):
    control = full_control() if data == "full" else empty_control()
    with serving(control) as url, watched(browser, look, shots) as watch:
        watch.see(f"{url}/sign-in", f"{data}-sign-in")
        watch.sign_in(url, TOKEN)
        watch.refusals = {404}
        for name, address in places(control):
            watch.see(url + address, f"{data}-{name}")


def test_a_walk_misses_no_page():
    seen = {name for name, _ in places(full_control(60))}
    pages = [route for route in ROUTES if route.method == "GET" and route.path not in {*PARTS, "/sign-in"}]
    assert len(seen) >= len(pages)
