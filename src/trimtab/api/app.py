"""The application: routes, and the check that stands before all of them."""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab.access import bearer, open_access_problem
from trimtab.types import TrimtabError, Unauthenticated

from .calls import get_call, list_calls
from .config import post_reload
from .health import get_health, get_healthz
from .keys import create_key, list_keys, revoke_key
from .models import list_models
from .port import Control
from .projects import list_projects
from .replies import error_reply, http_error_reply
from .snapshot import get_snapshot

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Endpoint = Callable[[Request], Awaitable[Response]]

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/healthz", get_healthz),
    ("GET", "/api/v1/health", get_health),
    ("GET", "/api/v1/keys", list_keys),
    ("POST", "/api/v1/keys", create_key),
    ("DELETE", "/api/v1/keys/{id}", revoke_key),
    ("GET", "/api/v1/projects", list_projects),
    ("GET", "/api/v1/calls", list_calls),
    ("GET", "/api/v1/calls/{id}", get_call),
    ("GET", "/api/v1/models", list_models),
    ("GET", "/api/v1/snapshot", get_snapshot),
    ("POST", "/api/v1/reload", post_reload),
)
"""Every route: method, path, endpoint."""


def make_api(control: Control, token: str, *, bound_to_loopback: bool) -> App:
    """Return the API as an ASGI application.

    Args:
        control: what it asks.
        token: the bearer token that every request but `/healthz` must show.
        bound_to_loopback: whether the server listens on loopback addresses only; the Host must say so then.
    """
    inner = Starlette(
        routes=[Route(path, endpoint, methods=[method]) for method, path, endpoint in ROUTES],
        exception_handlers={TrimtabError: error_reply, 404: http_error_reply, 405: http_error_reply},
    )
    inner.state.control = control
    return _Gate(inner, token, bound_to_loopback=bound_to_loopback)


class _Gate:
    """Lets in who shows the token, and no foreign web page even then."""

    def __init__(self, inner: App, token: str, *, bound_to_loopback: bool) -> None:
        self._inner = inner
        self._token = token.encode()
        self._bound_to_loopback = bound_to_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            problem = self._problem(scope["path"], scope["headers"])
            if problem is not None:
                await error_reply(Request(scope), problem)(scope, receive, send)
                return
        await self._inner(scope, receive, send)

    def _problem(self, path: str, headers: list[tuple[bytes, bytes]]) -> TrimtabError | None:
        if self._bound_to_loopback:
            problem = open_access_problem(headers, bound_to_loopback=True)
            if problem is not None:
                return problem
        if path == "/healthz":
            return None
        shown = next((bearer(value) for name, value in headers if name == b"authorization"), b"")
        if hmac.compare_digest(shown, self._token):
            return None
        return Unauthenticated(
            "the admin API needs its token: send `Authorization: Bearer` with the content of run/admin.token "
            "in the data folder",
            param="authorization",
        )
