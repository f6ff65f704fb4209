"""The fake server on real sockets: bytes as they go out, and the real clients that must accept them."""

import asyncio
import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import openai
import pytest
from pydantic import BaseModel

from trimtab.testing import FAULTS, FakeServer, Pace, Scale, Script, Scripted, ToolCall
from trimtab.types import Usage

QUICK = Scale(stall_s=0.3, settle_s=0.03, huge_bytes=200_000, drip_bytes=16)
MESSAGES = [{"role": "user", "content": "one two three"}]


def raw(server, body=None, *, path="/v1/chat/completions", method="POST", head="", timeout_s=10.0):
    """Send one request over a bare socket and return every byte until the end, and how it ended."""
    data = json.dumps(body or {"model": "m", "messages": MESSAGES}).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout_s) as s:
        s.sendall(
            f"{method} {path} HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        got = b""
        try:
            while piece := s.recv(65536):
                got += piece
        except ConnectionResetError:
            return got, "reset"
        return got, "closed"


def client(server, **options):
    return openai.OpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0, **options)


@pytest.fixture(scope="module")
def echoing():
    with FakeServer(models=("fake-1", "fake-2")) as server:
        yield server


@pytest.fixture(scope="module")
def ai(echoing):
    with client(echoing) as made:
        yield made


def test_openai_client_chats(ai):
    reply = ai.chat.completions.create(model="fake-1", messages=MESSAGES, n=2)
    assert [c.message.content for c in reply.choices] == ["one two three", "one two three [1]"]
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
    assert reply.model == "fake-1"


@pytest.mark.parametrize("wanted", [True, False])
def test_openai_client_streams(ai, wanted):
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    chunks = list(ai.chat.completions.create(model="fake-1", messages=MESSAGES, stream=True, **options))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [bool(c.usage) for c in chunks] == [False] * (len(chunks) - 1) + [wanted]
    assert not wanted or chunks[-1].choices == []


def test_openai_clients_own_stream_accumulator_accepts_it(ai):
    with ai.chat.completions.stream(
        model="fake-1", messages=MESSAGES, logprobs=True, top_logprobs=1
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "one two three"
    assert "".join(t.token for t in final.choices[0].logprobs.content) == "one two three"


def test_openai_client_parses_structured_answers(ai):
    class Town(BaseModel):
        name: str
        people: int

    parsed = ai.chat.completions.parse(model="fake-1", messages=MESSAGES, response_format=Town)
    assert parsed.choices[0].message.parsed == Town(name="text", people=0)


def test_openai_client_calls_tools_streamed_and_whole(ai):
    schema = {"type": "object", "properties": {"city": {"enum": ["Kyōto"]}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    whole = ai.chat.completions.create(model="fake-1", messages=MESSAGES, tools=tools)
    assert json.loads(whole.choices[0].message.tool_calls[0].function.arguments) == {"city": "Kyōto"}
    with ai.chat.completions.stream(model="fake-1", messages=MESSAGES, tools=tools) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"city":"Kyōto"}'
    assert final.choices[0].finish_reason == "tool_calls"


def test_openai_client_embeds_and_lists_models(ai):
    packed = ai.embeddings.create(model="e", input=["a", "b"], dimensions=8).data  # asks for base64 by itself
    plain = ai.embeddings.create(model="e", input=["a", "b"], dimensions=8, encoding_format="float").data
    assert [d.embedding for d in packed] == [d.embedding for d in plain]
    assert len(plain[0].embedding) == 8
    assert plain[0].embedding != plain[1].embedding
    assert [m.id for m in ai.models.list()] == ["fake-1", "fake-2"]


def test_langchain_invokes_batches_and_streams(echoing):
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    chat = ChatOpenAI(
        model="fake-1", base_url=echoing.base_url, api_key="sk-test", max_retries=0, stream_usage=True
    )
    assert chat.invoke("hello there").content == "hello there"
    assert [m.content for m in chat.batch(["a", "b"])] == ["a", "b"]
    assert "".join(c.content for c in chat.stream("hello there")) == "hello there"
    embed = OpenAIEmbeddings(
        model="e",
        base_url=echoing.base_url,
        api_key="sk-test",
        check_embedding_ctx_length=False,
        dimensions=4,
    )
    assert len(embed.embed_query("x")) == 4


def test_scripted_details_reach_the_client():
    usage = Usage(input_tokens=100, output_tokens=20, cached_tokens=80, reasoning_tokens=5)
    reply = Scripted(
        ("a", "b"), usage=usage, model="served-9", fingerprint="fp_1", response_id="id-1",
        headers={"x-extra": "1"}, tool_calls=[ToolCall("f", '{"broken')],
    )  # fmt: skip
    with FakeServer(script=Script([reply, reply])) as server, client(server) as ai:
        got = ai.chat.completions.with_raw_response.create(model="fake-1", messages=MESSAGES)
        assert (got.headers["x-extra"], got.headers["x-request-id"]) == ("1", "req_fake_0")
        parsed = got.parse()
        assert (parsed.id, parsed.model, parsed.system_fingerprint) == ("id-1", "served-9", "fp_1")
        assert parsed.usage.prompt_tokens_details.cached_tokens == 80
        assert parsed.choices[0].message.tool_calls[0].function.arguments == '{"broken'
        pieces = [
            c.choices[0].delta.content
            for c in ai.chat.completions.create(model="fake-1", messages=MESSAGES, stream=True)
            if c.choices[0].delta.content
        ]
        assert pieces == ["a", "b"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Scripted(status=400, error="no such thing"), openai.BadRequestError),
        (Scripted(status=401), openai.AuthenticationError),
        (Scripted(status=404), openai.NotFoundError),
        (Scripted(status=429, headers={"retry-after": "3"}), openai.RateLimitError),
        (Scripted(status=500), openai.InternalServerError),
        (Scripted(status=529), openai.InternalServerError),
    ],
)
def test_error_statuses_are_the_clients_errors(reply, error):
    with FakeServer(script=reply) as server, client(server) as ai, pytest.raises(error) as caught:
        ai.chat.completions.create(model="fake-1", messages=MESSAGES, stream=True)
    assert caught.value.body["message"]
    assert caught.value.response.headers.get("retry-after") == reply.headers.get("retry-after")


def test_a_script_that_raises_is_told_to_the_client():
    def broken(ask):
        raise KeyError("oops")

    with FakeServer(script=broken) as server, client(server) as ai:
        with pytest.raises(openai.InternalServerError, match="script raised KeyError: 'oops'"):
            ai.chat.completions.create(model="fake-1", messages=MESSAGES)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/embeddings", 405), ("POST", "/v1/models", 404)],
)
def test_what_is_not_served_is_refused_in_openais_shape(echoing, method, path, status):
    got, _ = raw(echoing, method=method, path=path, head="connection: close\r\n")
    assert got.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'"error":{"message":' in got


def test_a_foreign_key_is_refused_and_the_right_one_taken():
    with FakeServer(api_key="sk-right") as server:
        with client(server) as ai, pytest.raises(openai.AuthenticationError):
            ai.models.list()
        with openai.OpenAI(base_url=server.base_url, api_key="sk-right") as ai:
            assert ai.models.list().data


def test_every_request_is_recorded_as_sent(echoing):
    before = len(echoing.requests)
    body = {"model": "m", "messages": [], "extra": [1]}
    raw(echoing, body, head="X-Odd: Välue\r\nconnection: close\r\n", path="/v1/chat/completions?q=1")
    seen = echoing.requests[before]
    assert (seen.method, seen.path, seen.json()) == ("POST", "/v1/chat/completions?q=1", body)
    assert seen.header("X-ODD") == "Välue".encode().decode("latin-1")
    assert echoing.wait_for(lambda s: seen.finished_at)
    assert seen.arrived_at <= seen.first_byte_at <= seen.finished_at
    assert seen.closed_by_peer_at is None


def test_chunked_requests_pipelining_and_keep_alive(echoing):
    body = json.dumps({"model": "m", "messages": MESSAGES}).encode()
    chunked = b"%x\r\n%b\r\n0\r\ntrailer: x\r\n\r\n" % (len(body), body)
    first = b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + chunked
    last = b"GET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n"
    connections = echoing.connections
    with socket.create_connection(("127.0.0.1", echoing.port), 5) as s:
        s.sendall(first + first + last)
        got = b"".join(iter(lambda: s.recv(65536), b""))
    assert got.count(b"HTTP/1.1 200 OK") == 3
    assert got.count(b"one two three") == 2
    assert got.endswith(b"}")
    assert echoing.connections == connections + 1


def test_expect_100_continue_is_answered(echoing):
    with socket.create_connection(("127.0.0.1", echoing.port), 5) as s:
        s.sendall(b"POST /v1/embeddings HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 25\r\n\r\n")
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b'{"model":"e","input":"a"}')
        assert s.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_cancelling_is_seen_within_100_ms():
    stalled = Scripted(("one", "two"), pace=Pace(between_s=60))

    async def cancel(server):
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as ai:
            stream = await ai.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            assert server.in_flight == 1
            at = time.monotonic()
            await stream.close()
            assert await asyncio.to_thread(server.wait_for, lambda s: s.requests[0].closed_by_peer_at)
            return at

    with FakeServer(script=stalled) as server:
        at = asyncio.run(cancel(server))
        seen = server.requests[0]
        assert seen.closed_by_peer_at - at < 0.1
        assert seen.finished_at is None
        assert server.wait_for(lambda s: s.in_flight == 0)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("fault", ["stall_before_head", "stall_after_head", "stall_mid_reply"])
def test_a_peer_that_leaves_in_any_phase_is_seen(how, fault):
    with FakeServer(fault=fault) as server:
        with socket.create_connection(("127.0.0.1", server.port), 5) as s:
            if how == "reset":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.sendall(b'POST /v1/embeddings HTTP/1.1\r\ncontent-length: 25\r\n\r\n{"model":"e","input":"a"}')
            assert server.wait_for(lambda s: s.in_flight == 1)
            at = time.monotonic()
        assert server.wait_for(lambda s: s.requests[0].closed_by_peer_at)
        assert -0.01 < server.requests[0].closed_by_peer_at - at < 0.1


def test_a_slow_reader_is_not_written_to_without_end():
    with FakeServer(fault="huge_body", scale=Scale(huge_bytes=64 * 1024 * 1024)) as server:
        with socket.create_connection(("127.0.0.1", server.port), 5) as s:
            body = json.dumps({"model": "m", "messages": MESSAGES}).encode()
            s.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
            assert server.wait_for(lambda v: v.requests and v.requests[0].first_byte_at)
            assert not server.wait_for(lambda v: v.requests[0].finished_at, timeout_s=0.3)
        assert server.wait_for(lambda v: v.requests[0].closed_by_peer_at)


def body_of(got):
    return got.partition(b"\r\n\r\n")[2]


STREAM = {"model": "m", "messages": MESSAGES, "stream": True}


@pytest.mark.parametrize(
    ("name", "lane", "ended", "there", "missing"),
    [
        ("reset_before_head", "whole", "reset", b"", b"HTTP"),
        ("close_before_head", "whole", "closed", b"", b"HTTP"),
        ("stall_before_head", "whole", "closed", b"", b"HTTP"),
        ("reset_after_head", "whole", "reset", b"content-length: ", b"choices"),
        ("close_after_head", "stream", "closed", b"text/event-stream", b"data:"),
        ("stall_after_head", "stream", "closed", b"text/event-stream", b"data:"),
        ("stall_before_content", "stream", "closed", b'"role":"assistant"', b'"one"'),
        ("stall_mid_reply", "stream", "closed", b'"content":"one"', b'" two"'),
        ("reset_mid_reply", "stream", "reset", b'"content":"one"', b"[DONE]"),
        ("cut_mid_chunk", "stream", "closed", b'"content":"one"', b"0\r\n\r\n"),
        ("http09_garbage", "whole", "closed", b"<!DOCTYPE html>", b"HTTP/1.1"),
        ("endless_head", "whole", "closed", b"x-filler: ", b"\r\n\r\n"),
        ("truncated_body", "whole", "closed", b"choices", b""),
    ],
)
def test_faults_that_end_the_connection(name, lane, ended, there, missing):
    with FakeServer(fault=name, scale=QUICK) as server:
        got, how = raw(server, STREAM if lane == "stream" else None)
        assert how == ended
        assert there in got
        assert not missing or missing not in got
        assert server.requests[0].fault == name
        assert server.wait_for(lambda s: s.in_flight == 0)
        assert server.requests[0].closed_by_peer_at is None
        if name == "truncated_body":
            told = int(got.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert told == len(body_of(got)) + 64


def ending(server, body=None):
    """Like `raw`, for replies that end properly while the connection stays."""
    return raw(server, body, head="connection: close\r\n")


@pytest.mark.parametrize(
    ("name", "lane", "there", "missing"),
    [
        ("cut_before_content", "stream", b'"role":"assistant"', b'"one"'),
        ("cut_between_events", "stream", b'"content":"one"', b"[DONE]"),
        ("malformed_event", "stream", b'{"index":0,\n\n', b"nothing"),
        ("malformed_event_late", "stream", b'"delta":\n\n', b"nothing"),
        ("malformed_body", "whole", b'{"id":', b"completion_tokens_details"),
        ("bad_utf8", "whole", b'"content":"\xff\xfe\x80one', b"nothing"),
        ("bad_utf8", "stream", b'"content":"\xff\xfe\x80one', b"nothing"),
        ("html_page", "stream", b"text/html", b"data:"),
        ("empty_body", "stream", b"content-length: 0", b"data:"),
        ("empty_choices", "stream", b'"choices":[]', b'"delta"'),
        ("empty_choices", "whole", b'"choices":[]', b"message"),
        ("error_event", "stream", b'data: {"error":', b'"one"'),
        ("error_event_late", "stream", b'data: {"error":', b"[DONE]"),
        ("gzip_body", "whole", b"content-encoding: gzip", b"choices"),
        ("drip", "stream", b"data: [DONE]", b"nothing"),
        ("huge_line", "stream", b"x" * 1000, b"nothing"),
        ("missing_usage", "whole", b"one two three", b"usage"),
        ("wrong_model", "whole", b"another-model", b'"model":"m"'),
        ("redirect", "whole", b"HTTP/1.1 302 Found", b"choices"),
        ("rate_limited_retry_after", "whole", b"retry-after: 1\r\n", b"choices"),
        ("error_529", "whole", b"HTTP/1.1 529 Unknown", b"choices"),
    ],
)
def test_faults_that_are_well_framed(name, lane, there, missing):
    with FakeServer(fault=name, scale=QUICK) as server:
        got, how = ending(server, STREAM if lane == "stream" else None)
        assert how == "closed"
        assert there in got
        assert missing not in got
        if lane == "stream" and b"chunked" in got:
            assert got.endswith(b"0\r\n\r\n")
        else:
            assert int(got.partition(b"content-length: ")[2].partition(b"\r\n")[0]) == len(body_of(got))


@pytest.mark.parametrize("fault", [f for f in FAULTS.values() if f.door == "open"], ids=lambda f: f.name)
def test_no_fault_shows_the_real_client_a_whole_answer_unless_it_says_so(fault):
    """The official client sees an error or a shorter answer; no fault passes unmarked for a good one."""
    for lane in fault.lanes:
        with FakeServer(fault=fault, scale=QUICK) as server, client(server) as ai:
            try:
                reply = ai.chat.completions.create(model="m", messages=MESSAGES, stream=lane == "stream")
                if lane == "stream":
                    text = "".join(c.choices[0].delta.content or "" for c in reply if c.choices)
                else:
                    text = reply.choices[0].message.content
            except (openai.OpenAIError, IndexError, AttributeError, ValueError, OSError):
                continue
            except Exception as e:
                assert type(e).__module__.startswith("httpx"), e  # noqa: PT017
                continue
            tolerated = fault.passes or fault.name in ("huge_body", "huge_line", "bad_utf8")
            assert tolerated or text != "one two three", (lane, text)


@pytest.mark.parametrize("name", ["error_500_once", "error_503_once"])
def test_a_fault_that_strikes_once_is_over_then(name):
    with FakeServer(fault=name) as server, client(server) as ai:
        with pytest.raises(openai.InternalServerError):
            ai.chat.completions.create(model="m", messages=MESSAGES)
        assert ai.chat.completions.create(model="m", messages=MESSAGES).choices
        assert [s.fault for s in server.requests] == [name, ""]


def test_a_reply_may_bring_its_own_fault():
    script = Script([Scripted("x", fault="cut_between_events"), Scripted("y", fault="no_such")], then="fine")
    with FakeServer(script=script) as server, client(server) as ai:
        assert b"[DONE]" not in ending(server, STREAM)[0]
        with pytest.raises(openai.InternalServerError, match="no_such"):
            ai.chat.completions.create(model="m", messages=MESSAGES)
        assert ai.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content == "fine"


def test_refused_ports_refuse_and_stay_taken():
    with FakeServer(fault="refused") as server:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), 1)
        with pytest.raises(OSError, match="in use"):
            FakeServer(port=server.port).start()


@pytest.mark.skipif(sys.platform != "linux", reason="how a full queue behaves differs by system")
def test_full_ports_leave_connections_unanswered():
    with FakeServer(fault="stall_connect") as server, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", server.port), 0.3)


def trusting(server):
    return ssl.create_default_context(cafile=server.ca_file)


def handshake(server, context):
    with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
            return wrapped.version()


def test_tls_is_served_with_a_certificate_that_only_its_ca_vouches_for():
    with FakeServer(tls=True) as server:
        assert server.base_url.startswith("https://127.0.0.1:")
        assert handshake(server, trusting(server))
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server, ssl.create_default_context())
    with FakeServer(fault="tls_untrusted") as server, pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, trusting(server))


def test_plain_http_behind_an_https_url_fails_the_handshake_at_once():
    with FakeServer(fault="tls_plain") as server:
        assert server.base_url.startswith("https://")
        began = time.monotonic()
        with pytest.raises(ssl.SSLError):
            handshake(server, ssl.create_default_context())
        assert time.monotonic() - began < 1


def test_without_openssl_the_error_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    server = FakeServer(tls=True)
    with pytest.raises(FileNotFoundError, match="`openssl` command"):
        server.start()
    server.stop()


def test_stopping_ends_stalled_replies_and_frees_thread_and_port():
    server = FakeServer(fault="stall_before_head", scale=Scale(stall_s=600)).start()
    with socket.create_connection(("127.0.0.1", server.port), 5) as s:
        s.sendall(b"GET /v1/models HTTP/1.1\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 200")
        s.sendall(b'POST /v1/embeddings HTTP/1.1\r\ncontent-length: 25\r\n\r\n{"model":"e","input":"a"}')
        assert server.wait_for(lambda v: v.in_flight == 1)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 1
    server.stop()
    assert server.requests[-1].closed_by_peer_at is None
    assert not any(t.name == f"fake-server-{server.port}" for t in threading.enumerate())
    FakeServer(port=server.port).start().stop()


def test_a_server_starts_once():
    with FakeServer() as server, pytest.raises(RuntimeError, match="runs already"):
        server.start()


def test_it_serves_async_tests_and_many_clients_at_once():
    async def ask(ai, text):
        stream = await ai.chat.completions.create(
            model="m", messages=[{"role": "user", "content": text}], stream=True
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream])

    async def main():
        async with FakeServer() as server:
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k") as ai:
                texts = [f"caller {n} says {'word ' * n}" for n in range(40)]
                said = await asyncio.gather(*(ask(ai, t) for t in texts))
            assert said == texts
            assert server.connections <= 40
            return server

    assert asyncio.run(main()).open_connections == 0


def test_it_runs_from_the_command_line():
    command = [sys.executable, "-m", "trimtab.testing", "--fault", "error_500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as ai:
                with pytest.raises(openai.InternalServerError):
                    ai.chat.completions.create(model="m", messages=MESSAGES)
        finally:
            process.terminate()
    listed = subprocess.run(
        [sys.executable, "-m", "trimtab.testing", "--faults"], capture_output=True, text=True
    )
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(FAULTS)


def test_the_command_line_says_when_the_port_is_taken():
    with FakeServer() as server:
        command = [sys.executable, "-m", "trimtab.testing", "--port", str(server.port)]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3
    assert "choose another --port" in done.stderr
