"""Reading request bodies, under a limit."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from trimtab.types.errors import CallerError, ClientGone, TooLarge

_GONE = "the client closed its connection while sending"
Receive = Callable[[], Awaitable[dict[str, Any]]]


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """Return a request's whole body; of its headers, only those that frame it are looked at.

    Raises:
        TooLarge: it is over `limit` bytes, declared or counted.
        CallerError: it is compressed.
        ClientGone: the client went away while sending.
    """
    declared = _declared(headers, limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone(_GONE)
    body: bytes = message["body"]
    if len(body) == declared or not message.get("more_body"):
        # The server would be asked once more only to say that nothing follows: a costly way to learn it.
        if len(body) > limit:
            raise _too_large(limit)
        return body
    pieces, size = [body], len(body)
    while message.get("more_body") and size != declared:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone(_GONE)
        pieces.append(message["body"])
        size += len(pieces[-1])
        if size > limit:
            raise _too_large(limit)
    return b"".join(pieces)


def _declared(headers: Mapping[bytes, bytes], limit: int) -> int:
    """Return the declared length, -1 where there is none; the server has checked that it is a number."""
    if (encoding := headers.get(b"content-encoding")) is not None and encoding.lower() != b"identity":
        shown = encoding[:40].decode("latin-1")
        raise CallerError(f"content-encoding {shown!r} is not taken; send the body plain")
    length = headers.get(b"content-length")
    declared = int(length) if length is not None and length.isdigit() else -1
    if declared > limit:
        raise _too_large(limit)
    return declared


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request body is over {limit} bytes (gateway.max_request_bytes)")
