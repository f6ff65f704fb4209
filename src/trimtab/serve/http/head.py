"""The head of a reply in bytes, and the target of a request."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import unquote

import httptools
import msgspec

_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus if s.value >= 200}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_BODY = frozenset({204, 304})
"""Statuses whose replies end with their head (RFC 9110, sections 15.3.5 and 15.4.5)."""

_OURS = frozenset({b"connection", b"content-length", b"date", b"transfer-encoding"})
"""Headers of an application that the server sees to. ASGI asks for names in lower case."""

# How a reply's body ends; 0 and more: after so many further bytes.
CHUNKED: Final = -1
CLOSING: Final = -2
"""With the connection: all that HTTP/1.0 has for a body of unknown length."""
BODILESS: Final = -3

Headers = list[tuple[bytes, bytes]]


class Target(NamedTuple):
    """What a request line asks for."""

    path: str
    """Percent-decoded."""
    raw_path: bytes
    query: bytes
    host: bytes = b""
    """Of an absolute URL; it stands above the Host header (RFC 9112, section 3.2.2)."""


def parse_target(url: bytes) -> Target:
    """Take a request target apart (RFC 9112, section 3.2): `/path?query`, an absolute URL, or `*`.

    Raises:
        ValueError: it is none of them.
    """
    if url == b"*":
        return Target("*", url, b"")
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError as error:
        raise ValueError("the request's target cannot be read") from error
    raw, host = parsed.path or b"/", b""
    if not url.startswith(b"/"):
        after = url.partition(b"://")[2]
        for end in (b"/", b"?", b"#"):
            after = after.partition(end)[0]
        host = after.rpartition(b"@")[2]
    return Target(unquote(raw.decode("latin-1")), raw, parsed.query or b"", host)


def status_line(status: int) -> bytes:
    """Return a reply's first line.

    Raises:
        ValueError: it is no status that a reply can end with.
    """
    line = _LINES.get(status)
    if line is None:
        if not 200 <= status <= 999:
            raise ValueError(f"a reply's status is a number from 200 to 999, not {status!r}")
        line = b"HTTP/1.1 %d \r\n" % status
    return line


def encode_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, int, bool]:
    """Encode an application's headers, but for those by which the server frames and dates its replies.

    Returns:
        Whole lines; the length of the body, -1 where none is said; whether the connection is to be closed.

    Raises:
        ValueError: a header holds a line break, which would forge what follows it, or the length is no number.
    """
    lines: list[bytes] = []
    length, close = -1, False
    for header in headers:
        name = header[0]
        if name not in _OURS:
            lines.append(b": ".join(header))
        elif name == b"content-length":
            if not header[1].isdigit():
                raise ValueError(f"a reply's content-length is a whole number, not {header[1]!r}")
            length = int(header[1])
        elif name == b"connection" and b"close" in header[1].lower():
            close = True
    lines.append(b"")
    block = b"\r\n".join(lines)
    if len(block) - len(block.translate(None, b"\r\n\0")) != 2 * len(lines) - 2:  # more than our own
        raise ValueError("a reply's header holds a line break or NUL")
    return block, length, close


def refusal(status: int, message: str) -> bytes:
    """Return a whole reply for what never reaches an application; the connection ends with it."""
    ours = status == 500
    error = {
        "message": message,
        "type": "api_error" if ours else "invalid_request_error",
        "param": None,
        "code": "internal_error" if ours else "invalid_request",
    }
    body = msgspec.json.encode({"error": error})
    head = b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (status_line(status), len(body)) + body
