"""Requests that nobody honest sends, and a plain way to send bytes to a gateway and read what it says."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from rigs.http_server import Reply, parse

DEEP = 100_000


def ask(
    body: bytes | dict, path: str = "/v1/chat/completions", more: str = "", host: str = "localhost"
) -> bytes:
    """Return a request; a dict goes as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(raw)}\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode("latin-1") + raw


def chat(content: str = "x", **fields: object) -> dict:
    """Return a plain chat request."""
    return {"model": "openai/m", "messages": [{"role": "user", "content": content}], **fields}


def get(path: str, more: str = "") -> bytes:
    """Return a GET of a path as written."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n".encode("latin-1")


@contextmanager
def connected(port: int, timeout_s: float = 30.0) -> Iterator[socket.socket]:
    """Open a socket to a port of this machine."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as sock:
        yield sock


def said(port: int, data: bytes) -> list[Reply]:
    """Send bytes, read to the end; return the replies."""
    with connected(port) as sock:
        got = b""
        try:
            sock.sendall(data)
            while piece := sock.recv(65536):
                got += piece
        except (ConnectionResetError, BrokenPipeError):
            pass  # refused before all was said
        return parse(got)


def code_of(reply: Reply) -> str:
    """Return the stable code of an error reply, else nothing."""
    try:
        return json.loads(reply.body)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return ""


def nested(levels: int) -> bytes:
    """Return an otherwise good request with a value of so many levels."""
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    return b'{"model":"openai/m","messages":[{"role":"user","content":"x"}],"metadata":' + deep + b"}"


def lists(levels: int) -> bytes:
    """Return a request whose messages are lists in lists."""
    return b'{"model":"openai/m","messages":' + b"[" * levels + b"]" * levels + b"}"
