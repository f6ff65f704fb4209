"""The harness itself: each fault that a walk must catch is caught on a page that has it."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from rigs.browser import Look, is_here, watched
from rigs.site import Site

pytestmark = pytest.mark.browser

PAGE = '<!doctype html><html lang="en"><head><title>t</title></head><body><main><h1>t</h1>{}</main></body></html>'

FAULTY = {
    "script error": "<script>nowhere()</script>",
    "console error": "<script>console.error('no')</script>",
    "asked for": '<img alt="" src="http://192.0.2.1/pixel.png">',
    "answered 404": '<img alt="" src="/missing.png">',
    "axe critical image-alt": '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
    "axe serious color-contrast": '<p style="color:#ccc;background:#fff">pale</p>',
    "scrolls sideways at 390 px": '<div style="width:2000px">wide</div>',
    "speaks 'en', not 'ja'": "",
}


@pytest.fixture(scope="module")
def site():
    async def page(request: Request) -> HTMLResponse:
        body = FAULTY.get(request.query_params.get("fault", ""), "<p>plain</p>")
        return HTMLResponse(
            PAGE.format(body), headers={"content-security-policy": request.query_params["csp"]}
        )

    async def icon(_: Request) -> HTMLResponse:
        return HTMLResponse("")

    with Site(Starlette(routes=[Route("/page", page), Route("/favicon.ico", icon)])) as running:
        yield running


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_page_is_caught(browser, site, fault):
    look = Look("ja" if "'ja'" in fault else "en", width=390)
    with pytest.raises(AssertionError, match=fault), watched(browser, look) as watch:
        watch.see(f"{site.url}/page?csp=&fault={fault}")


def test_a_good_page_passes_under_a_strict_policy_and_its_picture_is_taken(browser, site, tmp_path):
    with watched(browser, Look(width=390), tmp_path) as watch:
        watch.see(f"{site.url}/page?csp=default-src 'self'", "good")
    assert (tmp_path / "good-en-light-390.png").stat().st_size > 1000


def test_only_this_machine_is_here():
    assert is_here("http://127.0.0.1:8401/x")
    assert is_here("http://[::1]:8401/x")
    assert is_here("data:image/png;base64,xx")
    assert not is_here("http://127.0.0.1.example.org/")
    assert not is_here("wss://cdn.example.org/")
