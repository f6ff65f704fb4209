"""JSON in and out, errors in the gateway's shape, and who is asking."""

import math
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trimtab.types import Actor, CallerError, MethodNotAllowed, NotFound, TooLarge, TrimtabError

from .port import Control

_T = TypeVar("_T")
_S = TypeVar("_S", bound=msgspec.Struct)

LARGEST_BODY = 64 * 1024
"""Bytes; no admin request needs more."""


class Problem(msgspec.Struct, frozen=True):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ProblemReply(msgspec.Struct, frozen=True):
    """Body of every error answer."""

    error: Problem


def control_of(request: Request) -> Control:
    """Return the port that this request's application asks."""
    control: Control = request.app.state.control
    return control


def actor_of(request: Request) -> Actor:
    """Return on whose behalf the request is made; the gate has found out."""
    actor: Actor = request.scope["trimtab.actor"]
    return actor


def address_of(request: Request) -> str:
    """Return the address that the request came from; empty where the server does not know."""
    return request.client.host if request.client else ""


def reply(value: Any, status: int = 200) -> Response:  # noqa: ANN401 - any JSON
    """Return a value as a JSON response that no cache keeps."""
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


def error_reply(_request: Request, error: Exception) -> Response:
    """Return an error in OpenAI's shape, with its stable code."""
    assert isinstance(error, TrimtabError)
    problem = Problem(message=error.message, type=error.kind, param=error.param, code=error.code)
    answer = reply(ProblemReply(error=problem), error.status)
    if error.retry_after_s is not None:
        answer.headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if error.status == 401:
        answer.headers["www-authenticate"] = "Bearer"
    return answer


def http_error_reply(request: Request, error: Exception) -> Response:
    """Return a path or method that is not there in the same shape."""
    assert isinstance(error, HTTPException)
    message = (
        f"there is nothing at {request.method} {request.url.path[:200]}; see docs/reference/admin-api.md"
    )
    kind = NotFound if error.status_code == 404 else MethodNotAllowed
    answer = error_reply(request, kind(message))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value  # `Allow`, where the method is what is wrong
    return answer


async def read_json(request: Request, kind: type[_T]) -> _T:
    """Return the request's body as `kind`.

    Raises:
        TooLarge: it is over 64 KiB.
        CallerError: it is not JSON of that shape.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise TooLarge(f"the request body is over {LARGEST_BODY} bytes; send less")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CallerError(f"the body is not what this path takes: {error}") from error


def read_query(request: Request, kind: type[_S]) -> _S:
    """Return the query string's fields as `kind`; a field given twice counts once.

    Raises:
        CallerError: a field is unknown, or its value cannot be used.
    """
    return struct_of(dict(request.query_params), kind)


def struct_of(fields: dict[str, str], kind: type[_S]) -> _S:
    """Return text fields as `kind`.

    Raises:
        CallerError: a field is unknown, or its value cannot be used.
    """
    known = kind.__struct_fields__
    for name in fields:
        if name not in known:
            raise CallerError(
                f"there is no field {name[:80]!r}; there are: {', '.join(known)}", param=name[:80]
            )
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise CallerError(f"a field cannot be used: {error}") from error
