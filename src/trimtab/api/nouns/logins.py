"""Signing in and out, and who one is."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.access import LONGEST_PASSWORD, bearer
from trimtab.api.replies import actor_of, address_of, control_of, read_json, reply
from trimtab.api.table import Nothing, Route
from trimtab.types import CallerError, Role

from .users import Password


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name and password, or the installation's token."""

    name: Annotated[str, Meta(max_length=64)] = ""
    password: Annotated[str, Meta(max_length=LONGEST_PASSWORD)] = ""
    token: Annotated[str, Meta(max_length=512)] = ""


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that was opened."""

    token: str
    """Send it as `Authorization: Bearer`."""
    user: str
    role: Role


class NewOwnPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One's own new password."""

    current: Annotated[str, Meta(max_length=LONGEST_PASSWORD)]
    password: Password


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who one is."""

    user: str
    role: Role


async def sign_in(request: Request) -> Response:
    """Open a sign-in; a new token each time."""
    given = await read_json(request, Login)
    people, address = control_of(request).people, address_of(request)
    if given.token:
        token, actor = await people.sign_in_with_token(given.token, address)
    elif given.name:
        token, actor = await people.sign_in(given.name, given.password, address)
    else:
        raise CallerError("send name and password, or token", param="name")
    return reply(SignedIn(token=token, user=actor.name, role=actor.role), 201)


async def sign_out(request: Request) -> Response:
    """End the sign-in whose token the request shows; the installation's own token is none, and stays."""
    await control_of(request).people.sign_out(
        bearer(request.headers.get("authorization", "").encode()).decode("utf-8", "replace")
    )
    return reply(Nothing())


async def get_me(request: Request) -> Response:
    """Say who one is."""
    actor = actor_of(request)
    return reply(Me(user=actor.name, role=actor.role))


async def change_password(request: Request) -> Response:
    """Change one's own password; answer with the one sign-in that is left, a new one."""
    given = await read_json(request, NewOwnPassword)
    people = control_of(request).people
    token, actor = await people.change_password(actor_of(request), given.current, given.password)
    return reply(SignedIn(token=token, user=actor.name, role=actor.role))


ROUTES = (
    Route(
        method="POST", path="/api/v1/login", endpoint=sign_in, action="session.open", role=None,
        summary="signs in with `name` and `password`, or `token`; the answer's `token` is shown from then on",
        body=Login, reply=SignedIn, status=201,
    ),
    Route(
        method="POST", path="/api/v1/logout", endpoint=sign_out, action="session.close", role="viewer",
        summary="ends the sign-in whose token is shown", reply=Nothing,
    ),
    Route(
        method="GET", path="/api/v1/me", endpoint=get_me, action="session.read", role="viewer",
        summary="who one is, and with which role", reply=Me,
    ),
    Route(
        method="POST", path="/api/v1/me/password", endpoint=change_password, action="user.password", role="viewer",
        summary="changes one's own password, which ends all one's sign-ins; the answer's `token` is a new one",
        body=NewOwnPassword, reply=SignedIn,
    ),
)  # fmt: skip
"""Every route of this noun."""
