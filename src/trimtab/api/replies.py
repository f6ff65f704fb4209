"""JSON in and out, and errors in the gateway's shape."""

from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trimtab.types import CallerError, TooLarge, TrimtabError

from .port import Control

_T = TypeVar("_T")

_LARGEST_BODY = 64 * 1024
"""Bytes; no admin request needs more."""


def control_of(request: Request) -> Control:
    """Return the port that this request's application asks."""
    control: Control = request.app.state.control
    return control


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
    body = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}
    return reply({"error": body}, error.status)


def http_error_reply(request: Request, error: Exception) -> Response:
    """Return a path or method that is not there in the same shape."""
    assert isinstance(error, HTTPException)
    code = "not_found" if error.status_code == 404 else "method_not_allowed"
    message = f"there is nothing at {request.method} {request.url.path}; see docs/reference/admin-api.md"
    body = {"message": message, "type": CallerError.kind, "param": None, "code": code}
    return reply({"error": body}, error.status_code)


async def read_json(request: Request, kind: type[_T]) -> _T:
    """Return the request's body as `kind`.

    Raises:
        TooLarge: it is over 64 KiB.
        CallerError: it is not JSON of that shape.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_BODY:
            raise TooLarge(f"the request body is over {_LARGEST_BODY} bytes; send less")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallerError(f"the body is not what this path takes: {error}") from error
