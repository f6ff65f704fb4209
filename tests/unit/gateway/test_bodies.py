"""Request bodies: their limit holds, declared or counted; only plain JSON is taken."""

import asyncio
import gzip
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.gateway import POLICY
from trimtab.gateway.requests import read_body
from trimtab.types import ProviderSpec
from trimtab.types.errors import CallerError, ClientGone, TooLarge

LIMIT = 2000
PATH = "/v1/chat/completions"


def of_size(size: int) -> bytes:
    body = {"model": "f/m", "messages": [{"role": "user", "content": ""}]}
    body["messages"][0]["content"] = "x" * (size - len(msgspec.json.encode(body)))
    made = msgspec.json.encode(body)
    assert len(made) == size
    return made


@pytest.fixture
def small(make):
    policy = msgspec.structs.replace(POLICY, max_request_bytes=LIMIT)
    return make(ProviderSpec(name="f", kind="fake", models=("m",)), policy=policy)


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize(
    ("size", "status"), [(LIMIT - 1, 200), (LIMIT, 200), (LIMIT + 1, 413), (LIMIT * 50, 413)]
)
def test_the_limit_is_to_the_byte(small, size, status, chunked):
    answer = small.send("POST", PATH, of_size(size), chunked=chunked)
    assert answer.status == status
    if status == 413:
        assert answer.error["code"] == "request_too_large"
        assert str(LIMIT) in answer.error["message"]


def test_a_body_declared_too_large_is_refused_before_it_is_sent(small):
    with socket.create_connection(("127.0.0.1", small.rig.port), timeout=5) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 999999999\r\n\r\n"
        )
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "deflate, gzip"])
def test_a_compressed_body_is_refused_in_words(site, encoding):
    answer = site.send("POST", PATH, gzip.compress(of_size(500)), {"Content-Encoding": encoding})
    assert answer.status == 400
    assert encoding in answer.error["message"]
    assert "plain" in answer.error["message"]


def test_an_identity_encoding_is_none(site):
    assert site.send("POST", PATH, of_size(500), {"Content-Encoding": "Identity"}).status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"]
)
def test_a_body_that_is_not_declared_as_json_is_refused_in_open_access(site, kind):
    answer = site.send("POST", PATH, of_size(500), {"Content-Type": kind})
    assert answer.status == 415
    assert answer.error["code"] == "unsupported_media_type"
    assert answer.error["param"] == "content-type"


def test_json_may_name_its_charset(site):
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"):
        assert site.send("POST", PATH, of_size(500), {"Content-Type": kind}).status == 200


# --- reading, piece by piece --------------------------------------------------------------------------------


def read(pieces, headers=None, limit=100, *, gone_after=None):
    sent = [
        {"type": "http.request", "body": piece, "more_body": n < len(pieces) - 1}
        for n, piece in enumerate(pieces)
    ]
    if gone_after is not None:
        sent[gone_after:] = [{"type": "http.disconnect"}]
    asked = 0

    async def receive():
        nonlocal asked
        asked += 1
        return sent[asked - 1]

    return asyncio.run(read_body(headers or {}, receive, limit)), asked


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=8), st.booleans())
def test_a_body_is_joined_and_held_to_its_limit_at_any_chunking(pieces, declared):
    whole = b"".join(pieces)
    headers = {b"content-length": b"%d" % len(whole)} if declared else {}
    if len(whole) > 100:
        with pytest.raises(TooLarge):
            read(pieces, headers)
        return
    body, asked = read(pieces, headers)
    assert body == whole
    assert asked <= len(pieces)


def test_a_whole_declared_body_is_not_waited_for_any_longer():
    """The server says `more_body` once more only to say that nothing follows."""
    body, asked = read([b"12345", b""], {b"content-length": b"5"})
    assert (body, asked) == (b"12345", 1)
    body, asked = read([b"123", b"45", b""], {b"content-length": b"5"})
    assert (body, asked) == (b"12345", 2)
    body, asked = read([b"12345", b""])
    assert (body, asked) == (b"12345", 2)


@pytest.mark.parametrize("after", [0, 1])
def test_a_client_that_goes_while_sending_is_gone(after):
    with pytest.raises(ClientGone):
        read([b"1", b"2", b"3"], gone_after=after)


def test_an_encoding_is_refused_before_anything_is_read():
    with pytest.raises(CallerError):
        read([], {b"content-encoding": b"gzip"})
    with pytest.raises(TooLarge):
        read([], {b"content-length": b"101"})
