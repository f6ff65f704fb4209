"""Every page and every action of the console in a browser: in both languages, light and dark, wide and narrow.

Over made-up data here, empty and full; `test_running` does the same over a running installation.
"""

import pytest

from rigs.browser import LOOKS, Look, watched
from rigs.console_up import serving
from rigs.fake_control import TOKEN
from rigs.places import PARTS, places
from rigs.sample_day import empty_control, full_control
from rigs.tour import Tour
from trimtab.console.pages import ROUTES

pytestmark = pytest.mark.browser

FAST = {(Look("ja", "dark", 390), "full")}
"""What every run of the tests walks; all the others are slow."""

WALKS = [
    pytest.param(look, data, id=f"{look}-{data}", marks=() if (look, data) in FAST else pytest.mark.slow)
    for look in LOOKS
    for data in ("full", "empty")
]


def tour_of(watch, url, data):
    return Tour(
        watch,
        url,
        TOKEN,
        "tour",
        upstream="https://llm.example.org/v1",
        backup="/backups/tour",
        calls=data == "full",
    )


@pytest.mark.parametrize(("look", "data"), WALKS)
def test_every_page_and_action_is_met_and_without_fault(browser, shots, look, data):
    control = full_control() if data == "full" else empty_control()
    with serving(control) as url, watched(browser, look, shots) as watch:
        tour_of(watch, url, data).walk()
        watch.refusals = {404}
        if data == "full":  # of what has more than one shape, the other ones
            watch.sign_in(url, TOKEN)
            for name, address in places(control):
                watch.see(url + address, f"{data}-{name}")


def test_a_walk_misses_no_page():
    seen = {name for name, _ in places(full_control(60))}
    pages = [route for route in ROUTES if route.method == "GET" and route.path not in {*PARTS, "/sign-in"}]
    assert len(seen) >= len(pages)


def test_a_tour_that_leaves_a_route_out_fails():
    tour = Tour(None, "", "", "", upstream="", backup="", calls=True)
    tour.met = {(route.method, route.path) for route in ROUTES if route.path != "/models"}
    with pytest.raises(AssertionError, match=r"never visited: \[\('GET', '/models'\)\]"):
        tour.judge()
