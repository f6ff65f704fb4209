"""A server that says, by an OSError from `send`, that the client is no longer there."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from trimtab.gateway import Gateway


class Counts:
    """Counts as the core does."""

    def __init__(self) -> None:
        self.named: dict[str, int] = {}

    def add_named(self, name: str, by: int = 1) -> None:
        self.named[name] = self.named.get(name, 0) + by


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/v1/chat/completions"])
def test_a_client_that_left_before_a_plain_reply_is_no_internal_error(path: str, caplog) -> None:
    counts = Counts()
    gateway = Gateway(SimpleNamespace(counts=counts), bound_to_loopback=True)
    asked = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        asked.append(message["type"])
        raise OSError("gone")

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"localhost")]}
    with caplog.at_level(logging.ERROR):
        asyncio.run(gateway(scope, receive, send))
    assert asked == ["http.response.start"]
    assert counts.named["in_flight"] == 0
    assert not caplog.records
