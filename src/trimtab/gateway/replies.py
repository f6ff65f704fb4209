"""Writing replies: plain JSON, and errors in OpenAI's shape."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from trimtab.types import TrimtabError
from trimtab.types.errors import ClientGone, ProviderRejected

Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
_encode = msgspec.json.Encoder().encode
JSON = (b"content-type", b"application/json")


async def send_bytes(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Send a whole reply in one go.

    Raises:
        ClientGone: nobody is there to take it.
    """
    headers.append((b"content-length", b"%d" % len(body)))
    try:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except OSError as error:  # how a server says that (ASGI, `send`)
        raise ClientGone("the client closed its connection before its answer was sent") from error


async def send_json(send: Send, status: int, body: object, headers: Headers | None = None) -> None:
    """Send an object as JSON."""
    await send_bytes(send, status, _encode(body), [JSON, *(headers or ())])


async def send_error(send: Send, error: TrimtabError, headers: Headers | None = None) -> None:
    """Send an error with its own status; a provider's rejection goes out with its own body."""
    headers = [JSON, *(headers or ())]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    headers += error.headers
    headers.append((b"x-trimtab-error", error.code.encode()))
    if isinstance(error, ProviderRejected) and error.body[:1] == b"{":
        await send_bytes(send, error.status, error.body, headers)
    else:
        await send_bytes(send, error.status, error_body(error), headers)


def error_body(error: TrimtabError) -> bytes:
    """Return the error object that OpenAI's clients read."""
    fields = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}
    return _encode({"error": fields})
