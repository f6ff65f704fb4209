"""The head of a reply in bytes, and the target of a request."""

from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote

import httptools
import msgspec

_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}".encode() for s in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_BODY = frozenset({204, 304})
"""Statuses whose replies end with their head (RFC 9110, sections 15.3.5 and 15.4.5)."""

Headers = list[tuple[bytes, bytes]]


class Target(NamedTuple):
    """What a request line asks for."""

    path: str
    """Percent-decoded."""
    raw_path: bytes
    query: bytes


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
    raw = parsed.path or b"/"
    return Target(unquote(raw.decode("latin-1")), raw, parsed.query or b"")


def status_line(status: int) -> bytes:
    """Return a reply's first line, without its end."""
    return _LINES.get(status) or b"HTTP/1.1 %d " % status


def encode_head(status: int, headers: Headers, more: bytes) -> bytes:
    """Return a reply's head.

    Args:
        status: of the reply.
        headers: of the application.
        more: whole lines of ours, each with its end.

    Raises:
        ValueError: a header holds a line break, which would forge what follows it.
    """
    lines = [b"%b: %b" % header for header in headers]
    lines.append(more)
    block = b"\r\n".join(lines)
    ours = more.count(b"\n")
    if block.count(b"\n") != len(headers) + ours or block.count(b"\r") != len(headers) + ours:
        raise ValueError("a reply's header holds a line break")
    return b"%b\r\n%b\r\n" % (_LINES.get(status) or status_line(status), block)


def refusal(status: int, message: str) -> bytes:
    """Return a whole reply for what never reaches an application; the connection ends with it."""
    kind = "invalid_request_error" if status < 500 else "api_error"
    code = "invalid_request" if status < 500 else "internal_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = msgspec.json.encode({"error": error})
    head = b"%b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (status_line(status), len(body)) + body
