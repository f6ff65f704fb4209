"""The application: the table of routes, and the checks that stand before each."""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from trimtab.access import bearer, open_access_problem, permits
from trimtab.types import Actor, Forbidden, TrimtabError, Unauthenticated

from .nouns import ROUTES as OF_NOUNS
from .openapi import document
from .port import Control
from .replies import actor_of, address_of, control_of, error_reply, http_error_reply, reply
from .table import Endpoint, Route

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_NAME = "admin-token"  # noqa: S105 - a name, no token
"""Who acts with the installation's own token."""


async def get_openapi(_request: Request) -> Response:
    """Return the description of this API."""
    return reply(document(ROUTES))


ROUTES: tuple[Route, ...] = (
    *OF_NOUNS,
    Route(
        method="GET",
        path="/api/v1/openapi.json",
        endpoint=get_openapi,
        action="openapi.read",
        role="viewer",
        summary="this API's description in OpenAPI 3.1",
        reply=dict[str, Any],
    ),
)
"""Every route of the API."""


def make_api(control: Control, token: str, *, bound_to_loopback: bool) -> App:
    """Return the API as an ASGI application.

    Args:
        control: what it asks.
        token: the installation's token; who shows it is an admin.
        bound_to_loopback: whether the server listens on loopback addresses only; the Host must say so then.
    """
    inner = Starlette(
        routes=[StarletteRoute(route.path, _guarded(route), methods=[route.method]) for route in ROUTES],
        exception_handlers={TrimtabError: error_reply, 404: http_error_reply, 405: http_error_reply},
    )
    inner.router.redirect_slashes = False
    inner.state.control = control
    return _Gate(inner, control, token, bound_to_loopback=bound_to_loopback)


def _guarded(route: Route) -> Endpoint:
    """Let in who has the route's role; note whoever tries without it."""

    async def endpoint(request: Request) -> Response:
        if route.role is not None:
            actor = actor_of(request)
            if not permits(actor.role, route.role):
                tried = next(iter(request.path_params.values()), request.url.path)
                await control_of(request).people.refused(actor, route.action, str(tried))
                raise Forbidden(f"this takes the role {route.role!r}, and {actor.name!r} has {actor.role!r}")
        return await route.endpoint(request)

    return endpoint


class _Gate:
    """Finds out who asks; lets in no foreign web page, whoever it speaks for."""

    def __init__(self, inner: App, control: Control, token: str, *, bound_to_loopback: bool) -> None:
        self._inner = inner
        self._control = control
        self._token = token
        self._bound_to_loopback = bound_to_loopback
        self._open = {route.path for route in ROUTES if route.role is None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._admit(scope)
            except TrimtabError as problem:
                await error_reply(Request(scope), problem)(scope, receive, send)
                return
        await self._inner(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        """Note in the scope who asks.

        Raises:
            TrimtabError: nobody we know, or a foreign page.
        """
        if self._bound_to_loopback:
            problem = open_access_problem(scope["headers"], bound_to_loopback=True)
            if problem is not None:
                raise problem
        if scope["path"] in self._open:
            return
        shown = next((bearer(value) for name, value in scope["headers"] if name == b"authorization"), b"")
        actor = await self._actor(shown.decode("latin-1"))
        if actor is None:
            raise Unauthenticated(
                "nobody is signed in: send `Authorization: Bearer` with the content of run/admin.token in the data "
                "folder, or with the token that POST /api/v1/login returned (it ends 12 hours after its last use)",
                param="authorization",
            )
        scope["trimtab.actor"] = msgspec.structs.replace(
            actor, via="token", address=address_of(Request(scope))
        )

    async def _actor(self, shown: str) -> Actor | None:
        if not shown:
            return None
        if hmac.compare_digest(shown.encode("latin-1"), self._token.encode()):
            return Actor(name=TOKEN_NAME, role="admin")
        return await self._control.people.signed_in(shown)
