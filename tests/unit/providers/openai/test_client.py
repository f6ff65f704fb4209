"""The provider over a real socket: what it sends, how its replies begin and end."""

import asyncio
import gc
from contextlib import suppress

import msgspec
import pytest

from rigs.raw_server import CLOSE, RESET, raw_server
from trimtab.providers import ProviderContext, make_provider
from trimtab.types import Deadlines, Done, ProviderSpec, Request, Started
from trimtab.types.errors import (
    ConfigError,
    ConnectionLost,
    EmptyReply,
    MalformedReply,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
    RateLimited,
    StreamCut,
)

COMPLETION = b'{"id":"id-1","choices":[{"message":{"content":"a"}}]}'
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n"
CONTENT = b'data: {"id":"id-1","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
FINISH = b'data: {"id":"id-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
END = b"data: [DONE]\n\n"


def plain(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> list[bytes | float]:
    framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [SSE + b"Transfer-Encoding: chunked\r\n\r\n", *(s for f in framed for s in (f, 0.002)), end]


def request(*, stream: bool = False, kind: str = "chat") -> Request:
    return Request(
        kind=kind,
        model="m",
        body={"model": msgspec.Raw(b'"m"'), "x": msgspec.Raw(b"[1.50]")},
        stream=stream,
        deadlines=Deadlines(connect_s=1),
    )


def run(main):
    async def limited():
        async with asyncio.timeout(20):
            return await main()

    return asyncio.run(limited())


def with_provider(answer, use, **spec):
    """Serve the answer, and return what `use(provider)` returns and the requests that came."""

    async def main():
        async with raw_server(answer) as server:
            options = {"name": "p", "api_key": "${KEY}", **spec}
            context = ProviderContext(environ={"KEY": "sk-1"})
            provider = make_provider(ProviderSpec(base_url=server.url, **options), context)
            try:
                return await use(provider), server
            finally:
                await provider.aclose()

    return run(main)


async def completion(provider, kind: str = "chat"):
    async with provider.open(request(kind=kind)) as reply:
        return await reply.completion(), reply.head


async def frames(provider):
    async with provider.open(request(stream=True)) as reply:
        return [frame async for frame in reply.frames()]


# --- requests and heads -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("chat", b"/v1/chat/completions", COMPLETION),
        ("embeddings", b"/v1/embeddings", b'{"data":[{}]}'),
    ],
)
def test_a_request_carries_the_callers_json_and_our_key(kind, path, body):
    (answer, _), server = with_provider(
        plain(body), lambda p: completion(p, kind), headers={"X-Team": "a", "User-Agent": "mine"}
    )
    assert answer.body == body
    [sent] = server.requests
    assert sent.startswith(b"POST " + path + b" HTTP/1.1\r\n")
    assert sent.endswith(b'\r\n\r\n{"model":"m","x":[1.50]}')
    assert b"\r\nAuthorization: Bearer sk-1\r\n" in sent
    assert b"\r\nX-Team: a\r\n" in sent
    assert b"\r\nUser-Agent: mine\r\n" in sent
    assert sent.lower().count(b"user-agent") == 1, "what is configured replaces our own"


def test_a_configured_authorization_replaces_the_key():
    _, server = with_provider(plain(COMPLETION), completion, headers={"authorization": "Basic x"})
    assert server.requests[0].lower().count(b"authorization") == 1
    assert b"\r\nauthorization: Basic x\r\n" in server.requests[0]


def test_without_a_key_none_is_sent():
    _, server = with_provider(plain(COMPLETION), completion, api_key="")
    assert b"authorization" not in server.requests[0].lower()
    assert b"User-Agent: trimtab" in server.requests[0]


def test_a_key_whose_variable_is_not_set_is_a_fault_of_the_configuration():
    with pytest.raises(ConfigError, match="KEY"):
        make_provider(ProviderSpec(name="p", api_key="${KEY}"), ProviderContext(environ={}))


def test_a_head_tells_the_request_id_and_the_rate_limits():
    headers = ("X-Request-ID: req-1", "X-RateLimit-Remaining-Requests: 7", "X-Other: 1")
    (_, head), _ = with_provider(plain(COMPLETION, "200 OK", *headers), completion)
    assert (head.status, head.request_id) == (200, "req-1")
    assert head.headers == (("x-ratelimit-remaining-requests", "7"),)


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_refusal_is_the_error_it_means_and_the_connection_is_kept():
    async def twice(provider):
        for _ in range(2):
            with pytest.raises(RateLimited, match="slow down") as refused:
                await completion(provider)
            assert refused.value.retry_after_s == 1.5

    answer = plain(
        b'{"error":{"message":"slow down"}}', "429 Too Many", "Retry-After: 9", "Retry-After-Ms: 1500"
    )
    _, server = with_provider(answer, twice)
    assert server.on == [1, 1]


def test_a_refusal_whose_text_breaks_off_keeps_its_status():
    async def use(provider):
        with pytest.raises(ProviderRejected) as refused:
            await completion(provider)
        return refused.value

    error, _ = with_provider([b"HTTP/1.1 422 No\r\nContent-Length: 99\r\n\r\nhalf", CLOSE], use)
    assert (error.status, error.body) == (422, b"")


def test_a_long_refusal_is_read_in_part():
    async def use(provider):
        with pytest.raises(ProviderRejected) as refused:
            await completion(provider)
        return refused.value

    error, _ = with_provider(plain(b"x" * 1_000_000, "400 Bad"), use)
    assert len(error.body) == 65_536


@pytest.mark.parametrize("marker", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n"])
def test_an_end_marker_without_its_blank_line_ends_the_stream_all_the_same(marker):
    async def use(provider):
        return await frames(provider)

    got, _ = with_provider(chunks(CONTENT, FINISH, marker), use)
    assert got[-1].events == (Done(),)


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect"])
def test_a_status_that_is_no_answer_is_a_failure_and_no_redirect_is_followed(status):
    async def use(provider):
        with pytest.raises(ProviderFailed, match=status[:3]):
            await completion(provider)

    answer = f"HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    _, server = with_provider(answer, use)
    assert len(server.requests) == 1


@pytest.mark.parametrize(("kind", "error"), [("chat", EmptyReply), ("embeddings", EmptyReply)])
def test_an_answer_without_content_is_empty(kind, error):
    async def use(provider):
        with pytest.raises(error):
            await completion(provider, kind)

    with_provider(plain(b"{}"), use)


# --- streams ------------------------------------------------------------------------------------------------


def test_a_stream_is_handed_out_frame_by_frame_with_its_bytes():
    async def twice(provider):
        first = await frames(provider)
        client = provider._client
        while client.idle == 0:  # the framing may end a moment after the content
            await asyncio.sleep(0.002)
        await frames(provider)
        return first

    made, server = with_provider(chunks(b": hi\n\n", CONTENT[:20], CONTENT[20:], FINISH + END), twice)
    assert [frame.raw for frame in made] == [b": hi\n\n", CONTENT, FINISH, END]
    assert type(made[1].events[0]) is Started
    assert type(made[-1].events[-1]) is Done
    assert server.on == [1, 1], "the connection is used again after a stream"


def test_nothing_after_the_end_marker_is_handed_out():
    made, _ = with_provider(chunks(CONTENT + FINISH + END + CONTENT), frames)
    assert [frame.raw for frame in made] == [CONTENT, FINISH, END]


@pytest.mark.parametrize(
    "answer",
    [
        chunks(CONTENT, FINISH),
        chunks(CONTENT),
        chunks(),
        chunks(CONTENT, FINISH, b"data: [DO"),
        [*chunks(CONTENT, FINISH)[:-1], CLOSE],
        [*chunks(CONTENT)[:-1], 0.02, RESET],
        [SSE + b"\r\n" + CONTENT, 0.02, CLOSE],
    ],
    ids=["no marker", "no finish", "nothing", "half a marker", "cut", "reset", "until EOF"],
)
def test_a_stream_without_its_end_marker_is_cut(answer):
    async def use(provider):
        with pytest.raises(StreamCut):
            await frames(provider)

    with_provider(answer, use)


@pytest.mark.parametrize(
    ("answer", "complete"),
    [
        (chunks(CONTENT, FINISH), True),
        ([SSE + b"\r\n" + CONTENT + FINISH, CLOSE], True),
        (chunks(CONTENT), False),
        (chunks(CONTENT, FINISH, b"data: {"), False),
        ([*chunks(CONTENT, FINISH)[:-1], CLOSE], False),
    ],
)
def test_a_server_known_to_send_no_marker_ends_with_its_finish_reason(answer, complete):
    async def use(provider):
        if complete:
            return await frames(provider)
        with pytest.raises(StreamCut):
            await frames(provider)
        return []

    made, _ = with_provider(answer, use, options={"done_marker": False})
    if complete:
        assert [frame.raw for frame in made] == [CONTENT, FINISH, END]


@pytest.mark.parametrize("kind", ["application/json", "text/html", ""])
def test_a_stream_of_another_content_type_is_malformed_and_its_beginning_shown(kind):
    async def use(provider):
        with pytest.raises(MalformedReply, match="it begins b'<html>") as refused:
            await frames(provider)
        assert (kind or "none") in refused.value.message
        assert len(provider._client._all) <= 1

    with_provider(plain(b"<html>oops", "200 OK", *([f"Content-Type: {kind}"] if kind else [])), use)


def test_cancelling_while_a_wrong_beginning_is_read_closes_the_socket():
    async def use(provider):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(frames(provider))
            while not provider._client._all:
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.05)  # not a guess: any moment of the wait will do
            task.cancel()
        assert len(provider._client._all) == 0

    with_provider([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 30.0], use)


# --- models -------------------------------------------------------------------------------------------------


def test_the_list_of_models_is_asked_for():
    names, server = with_provider(
        plain(b'{"object":"list","data":[{"id":"b","x":1},{"id":"a"}]}'), lambda p: p.models()
    )
    assert names == ["b", "a"]
    assert server.requests[0].startswith(b"GET /v1/models HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (plain(b"{"), MalformedReply),
        (plain(b'{"data":[{}]}'), MalformedReply),
        (plain(b'{"data":[{"id":"\xff"}]}'), MalformedReply),
        (plain(b"[]"), MalformedReply),
        (plain(b"no", "404 Not Found"), ProviderRejected),
        (plain(b"", "500 Oops"), ProviderFailed),
        ([b"HTTP/1.1 200 OK\r\n", CLOSE], ConnectionLost),
    ],
)
def test_a_list_of_models_that_cannot_be_read_is_the_providers_fault(answer, error):
    async def use(provider):
        with pytest.raises(error):
            await provider.models()

    with_provider(answer, use)


KEY, HEADER = "sk-planted-0123456789", "header-planted-0123"
ECHO = ("Incorrect API key provided: Bearer " + KEY + ", " + HEADER).encode()
WRONG = b'{"error":{"message":"%b","code":"invalid_api_key"}}' % ECHO


@pytest.mark.parametrize(
    ("answer", "stream"),
    [
        (plain(WRONG, "401 Unauthorized"), False),
        (plain(WRONG, "400 Bad Request"), False),
        (plain(ECHO, "500 Oh"), False),
        (plain(WRONG), False),
        (plain(ECHO), False),
        (plain(b"x" * 70 + ECHO), False),
        (plain(ECHO), True),
        (chunks(b"data: " + WRONG + b"\n\n"), True),
    ],
    ids=["401", "400", "500", "an error in 200", "no JSON", "cut within", "no stream", "in a stream"],
)
def test_a_key_that_the_provider_quotes_is_not_passed_on(answer, stream):
    async def use(provider):
        said = []
        try:
            async with provider.open(request(stream=stream)) as reply:
                if not stream:
                    said.append(await reply.completion())
                async for frame in reply.frames():
                    said.append(frame.events)
        except ProviderError as error:
            said += [error, getattr(error, "body", b"")]
        return str(said)

    said, _ = with_provider(answer, use, api_key=KEY, headers={"x-tenant": HEADER})
    for secret in (KEY, HEADER):
        assert secret not in said
        assert secret[:12] not in said
    assert "hidden" in said or b"xxx" in answer


@pytest.mark.parametrize(
    "answer",
    [plain(COMPLETION, "200 OK", "Connection: close"), plain(b"{}", "500 Oh"), [RESET], b"no HTTP"],
    ids=["closed", "refused", "reset", "no HTTP"],
)
def test_a_connection_that_ends_leaves_nothing_to_the_garbage_collector(answer):
    async def use(provider):
        async def one():
            with suppress(ProviderError):
                await completion(provider)

        async def ends():
            await one()
            await provider.aclose()
            await asyncio.sleep(0.05)  # the loop has told it that it is lost

        await ends()
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await ends()
            gc.collect()
            # The test's own server leaves cycles of its own.
            return [type(it).__name__ for it in gc.garbage if type(it).__module__.startswith("trimtab")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()

    assert with_provider(answer, use)[0] == []
