"""Reading request bodies, under a limit."""

from collections.abc import Awaitable, Callable
from typing import Any

from trimtab.types.errors import CallerError, ClientGone, TooLarge

Receive = Callable[[], Awaitable[dict[str, Any]]]


async def read_body(headers: list[tuple[bytes, bytes]], receive: Receive, limit: int) -> bytes:
    """Return a request's whole body.

    Raises:
        TooLarge: it is over `limit` bytes, declared or counted.
        CallerError: it is compressed.
        ClientGone: the client went away while sending.
    """
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
        if name == b"content-encoding" and value.lower() != b"identity":
            raise CallerError(
                f"content-encoding {value.decode('latin-1')!r} is not taken; send the body plain"
            )
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone("the client closed its connection while sending")
    body: bytes = message["body"]
    if message.get("more_body"):
        pieces, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("the client closed its connection while sending")
            pieces.append(message["body"])
            size += len(pieces[-1])
            if size > limit:
                raise _too_large(limit)
        body = b"".join(pieces)
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request body is over {limit} bytes (gateway.max_request_bytes)")
