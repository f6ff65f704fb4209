"""The application: the checks before every page, the table of routes, and errors as pages."""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from trimtab.api import Control
from trimtab.types import (
    Clock,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    SystemClock,
    TrimtabError,
    Unauthenticated,
)

from .pages import ROUTES, navigation
from .routes import Route, allows
from .security import HEADERS, check_host, form_token_fits, new_visit, set_cookie
from .site import Site
from .visit import Visit

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_FOREVER = "public, max-age=31536000, immutable"

_REENTER = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0"><title>Trimtab</title>'
)
"""Answers a link from elsewhere: a SameSite=Strict cookie does not come with it, but comes with this page's own."""


def make_console(
    control: Control, *, bound_to_loopback: bool, gateway_url: str = "", clock: Clock | None = None
) -> App:
    """Return the console as an ASGI application, for the root of the server that has the API at `/api/`.

    Reads its own files (about 10 ms).

    Args:
        control: what it asks.
        bound_to_loopback: whether the server listens on loopback addresses only; the Host must say so then.
        gateway_url: where applications call, for the examples on the first page.
        clock: tells the time; the machine's where omitted.
    """
    site = Site(
        bound_to_loopback=bound_to_loopback,
        nav=navigation(),
        clock=clock or SystemClock(),
        gateway_url=gateway_url,
    )
    return _Console(control, site, ROUTES)


class _Console:
    """Answers requests; every answer carries the headers that keep pages apart from strangers."""

    def __init__(self, control: Control, site: Site, routes: tuple[Route, ...]) -> None:
        self._control = control
        self._site = site
        self._routes = routes
        self._static = f"/static/{site.version}/"
        self._erasures = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.thread_time()
        request = Request(scope, receive)
        response = self._file(request) or await self._answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("cache-control", "no-store")
        response.headers["server-timing"] = f"cpu;dur={(time.thread_time() - started) * 1000:.1f}"
        if request.method == "HEAD":
            response = Response(status_code=response.status_code, headers=dict(response.headers))
        await response(scope, receive, send)

    def _file(self, request: Request) -> Response | None:
        path = request.url.path
        if not path.startswith("/static/") or request.method not in ("GET", "HEAD"):
            return None
        file = self._site.static.get(path.removeprefix(self._static))
        if file is None:
            return Response("not found", status_code=404, media_type="text/plain")
        return Response(file.body, media_type=file.kind, headers={"cache-control": _FOREVER})

    async def _answer(self, request: Request) -> Response:
        visit = Visit(request, self._control, self._site)
        try:
            check_host(request, bound_to_loopback=self._site.bound_to_loopback)
            token = visit.cookie("session")
            known = await self._control.people.signed_in(token) if token else None
            if known is not None:
                address = request.client.host if request.client else ""
                visit.signed_in = msgspec.structs.replace(known, via="console", address=address)
                visit.bearer = token
            route = self._route(visit)
            return await (self._stranger if visit.signed_in is None else self._admitted)(visit, route)
        except TrimtabError as error:
            return await error_page(visit, error)
        except Exception:  # noqa: BLE001 - a fault of ours becomes a page too, and the process lives on
            _log.exception("a page failed: %s %s", request.method, request.url.path[:200])
            return error_alone(visit, TrimtabError("the page failed; the control process's log says why"))

    def _route(self, visit: Visit) -> Route:
        """Return the route of a request, its path's parts noted in the visit."""
        path, method = visit.request.url.path, visit.request.method
        if path != "/" and path.endswith("/"):
            path = path.rstrip("/")
        there = False
        for route in self._routes:
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            there = True
            if method == route.method or (method == "HEAD" and route.method == "GET"):
                visit.path_params = found.groupdict()
                return route
        if there:
            raise MethodNotAllowed(f"{path} does not take {method}")
        raise NotFound(f"there is no page at {path[:200]}")

    async def _stranger(self, visit: Visit, route: Route) -> Response:
        """Answer who is not signed in: with what is for anyone, else with the way to the sign-in."""
        request = visit.request
        site = request.headers.get("sec-fetch-site")
        if site == "cross-site" and request.headers.get("sec-fetch-mode") == "navigate":
            return Response(_REENTER, media_type="text/html; charset=utf-8")
        if route.role != "anyone":
            return _to_sign_in(visit)
        known = visit.cookie("visit")
        visit.bearer = known or new_visit()
        if route.method == "POST":
            await _check_form(visit)
        response = await route.endpoint(visit)
        if not known:
            set_cookie(response, request, "visit", visit.bearer, keep=False)
        return response

    async def _admitted(self, visit: Visit, route: Route) -> Response:
        """Answer who is signed in, as far as the role goes."""
        actor = visit.actor
        if not allows(actor.role, route.role):
            await self._control.people.refused(actor, f"console.{route.method.lower()}", route.path)
            raise Forbidden(f"this takes the role {route.role!r}, and {actor.name!r} is {actor.role!r}")
        if route.method == "POST":
            await _check_form(visit)
        self._forget_the_erased()
        return await route.endpoint(visit)

    def _forget_the_erased(self) -> None:
        """Let no sum that is kept for a moment name whom an erasure has meant."""
        erasures = self._control.records.erasures
        if erasures != self._erasures:
            self._erasures = erasures
            self._site.bills.forget()
            self._site.overviews.forget()


async def _check_form(visit: Visit) -> None:
    shown = dict(await visit.form_pairs()).get("csrf", "")
    if not form_token_fits(visit.bearer, shown):
        raise Forbidden(
            "the form is from an earlier sign-in or another page; open its page anew and send it again"
        )


def _to_sign_in(visit: Visit) -> Response:
    request = visit.request
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    where = "/sign-in?" + urlencode({"next": back}) if request.method == "GET" and back != "/" else "/sign-in"
    if visit.partial:
        return Response(status_code=401, headers={"hx-redirect": "/sign-in"})
    if request.headers.get("sec-fetch-dest", "document") == "empty":
        return visit.json({"error": {"code": Unauthenticated.code, "message": "sign in first"}}, 401)
    return RedirectResponse(where, status_code=303)


async def error_page(visit: Visit, error: TrimtabError) -> Response:
    """Return an error as a page of the shell; alone for strangers, and for htmx as a part."""
    if visit.partial or visit.signed_in is None:
        return error_alone(visit, error)
    return await visit.page("error.html", error.status, **_error_fields(visit, error))


def error_alone(visit: Visit, error: TrimtabError) -> Response:
    """Return an error without the shell, which itself could fail."""
    template = "error_part.html" if visit.partial else "error_alone.html"
    return visit.fragment(template, error.status, **_error_fields(visit, error))


def _error_fields(visit: Visit, error: TrimtabError) -> dict[str, object]:
    return {
        "code": error.code,
        "message": error.message,
        "status": error.status,
        "title": visit.t("error.title"),
    }
