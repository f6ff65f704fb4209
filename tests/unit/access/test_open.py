"""The open-access rule, attacked."""

import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.access import open_access_problem
from trimtab.types import CallerError

Headers = list[tuple[bytes, bytes]]
LOCAL: Headers = [(b"host", b"localhost:8400")]
JSON: Headers = [(b"content-type", b"application/json"), (b"content-length", b"12")]


def problem(headers: Headers, *, bound_to_loopback: bool = True) -> CallerError | None:
    return open_access_problem(headers, bound_to_loopback=bound_to_loopback)


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"LOCALHOST:8400",
        b"127.0.0.1",
        b"127.0.0.1:1",
        b"[::1]",
        b"[::1]:65535",
    ],
)
def test_loopback_hosts_are_let_in(host: bytes) -> None:
    assert problem([(b"host", host)]) is None


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example",
        b"localhost.evil.example",
        b"evil.example:8400",
        b"127.0.0.1.nip.io",
        b"localhost.",
        b"127.0.0.1.",
        b"127.1",
        b"127.0.0.2",
        b"0.0.0.0",
        b"2130706433",
        b"0x7f.1",
        b"::1",
        b"[::1",
        b"[0:0:0:0:0:0:0:1]",
        b"[::ffff:127.0.0.1]",
        b"localhost:",
        b"localhost:x",
        b"localhost:123456",
        b"user@localhost",
        b"localhost@evil.example",
        b"localhost,evil.example",
        b"localhost evil.example",
        b" localhost",
        b"localhost\n",
        b"localhost/",
        b"evil.example#localhost",
        b"l\xc3\xb6calhost",
        "ⓛocalhost".encode(),
    ],
)
def test_any_other_host_is_not(host: bytes) -> None:
    refused = problem([(b"host", host)])
    assert refused is not None
    assert refused.status == 403


def test_a_request_without_host_or_with_two_is_not() -> None:
    assert problem([]) is not None
    assert problem([*LOCAL, (b"host", b"evil.example")]) is not None
    assert problem([(b"host", b"evil.example"), *LOCAL]) is not None
    assert problem([*LOCAL, *LOCAL]) is not None


@pytest.mark.parametrize(
    "header",
    [
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-anything",
        b"x-real-ip",
        b"cf-connecting-ip",
        b"true-client-ip",
    ],
)
def test_what_was_forwarded_is_not(header: bytes) -> None:
    refused = problem([*LOCAL, (header, b"")])
    assert refused is not None
    assert refused.status == 401
    assert header.decode() in refused.message


@pytest.mark.parametrize(
    "origin",
    [b"http://localhost:3000", b"https://127.0.0.1", b"http://[::1]:8400", b"HTTP://LOCALHOST"],
)
def test_loopback_origins_are_let_in(origin: bytes) -> None:
    assert problem([*LOCAL, (b"origin", origin)]) is None


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"null",
        b"http://evil.example",
        b"http://localhost.evil.example",
        b"http://localhost.",
        b"http://evil.example:8400",
        b"https://localhost@evil.example",
        b"file://localhost",
        b"chrome-extension://localhost",
        b"ftp://localhost",
        b"localhost",
        b"http://localhost/",
        b"http://localhost http://evil.example",
    ],
)
def test_foreign_origins_are_not(origin: bytes) -> None:
    refused = problem([*LOCAL, (b"origin", origin)])
    assert refused is not None
    assert refused.status == 403


@pytest.mark.parametrize(
    ("site", "let_in"),
    [(b"same-origin", True), (b"same-site", True), (b"none", True), (b"cross-site", False), (b"new", False)],
)
def test_fetch_metadata_is_heeded(site: bytes, let_in: bool) -> None:
    assert (problem([*LOCAL, (b"sec-fetch-site", site)]) is None) is let_in


@pytest.mark.parametrize(
    ("kind", "let_in"),
    [
        (b"application/json", True),
        (b"Application/JSON; charset=utf-8", True),
        (b"application/vnd.api+json", True),
        (b"text/plain", False),
        (b"text/plain; application/json", False),
        (b"application/x-www-form-urlencoded", False),
        (b"multipart/form-data; boundary=application/json", False),
        (b"application/jsonx", False),
        (b"application/json, text/plain", False),
        (b"", False),
    ],
)
@pytest.mark.parametrize("length", [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")])
def test_a_body_has_to_be_declared_as_json(kind: bytes, let_in: bool, length: tuple[bytes, bytes]) -> None:
    refused = problem([*LOCAL, (b"content-type", kind), length])
    assert (refused is None) is let_in
    assert refused is None or refused.status == 415


def test_a_body_without_a_type_is_refused_and_no_body_needs_none() -> None:
    assert problem([*LOCAL, (b"content-length", b"1")]) is not None
    assert problem([*LOCAL, (b"content-length", b"0")]) is None
    assert problem([*LOCAL, *JSON, (b"content-type", b"text/plain")]) is not None


def test_a_server_that_listens_beyond_loopback_is_never_open() -> None:
    refused = problem(LOCAL, bound_to_loopback=False)
    assert refused is not None
    assert refused.status == 401


NAMES = st.sampled_from([b"accept", b"user-agent", b"authorization", b"x-stainless-lang", b"cookie"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=30))), st.randoms(use_true_random=False))
def test_other_headers_and_their_order_change_nothing(extra: Headers, random: object) -> None:
    good = [*LOCAL, *JSON, *extra]
    bad = [*good, (b"origin", b"http://evil.example")]
    random.shuffle(good)  # type: ignore[attr-defined]
    random.shuffle(bad)  # type: ignore[attr-defined]
    assert problem(good) is None
    assert problem(bad) is not None


@given(st.binary(max_size=40))
def test_no_other_host_gets_in(host: bytes) -> None:
    name, _, port = (
        host.rpartition(b":") if host.endswith(tuple(b":%d" % d for d in range(10))) else (host, b"", b"")
    )
    known = {b"localhost", b"127.0.0.1", b"[::1]"}
    if host.lower() not in known and name.lower() not in known:
        assert problem([(b"host", host)]) is not None
    assert port.isdigit() or not port


@given(st.text(max_size=40))
def test_no_other_origin_gets_in(origin: str) -> None:
    if "localhost" not in origin.lower() and "127.0.0.1" not in origin and "::1" not in origin:
        assert problem([*LOCAL, (b"origin", origin.encode("utf-8", "surrogatepass"))]) is not None


def test_messages_repeat_little_of_what_a_stranger_sent() -> None:
    refused = problem([(b"host", b"x" * 10_000)])
    assert refused is not None
    assert len(refused.message) < 500


def test_it_is_fast() -> None:
    headers = [
        *LOCAL,
        *JSON,
        (b"accept", b"application/json"),
        (b"user-agent", b"OpenAI/Python 3.1.0"),
        (b"authorization", b"Bearer sk-none"),
        *((b"x-stainless-%d" % n, b"1") for n in range(7)),
    ]
    best = min(timeit.repeat(lambda: problem(headers), number=2000, repeat=5)) / 2000
    # 4 µs here; the bound only catches a change of order.
    assert best < 100e-6
