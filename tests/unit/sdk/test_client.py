"""The client against a real socket: what it sends, what it makes of answers, and when it asks again."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from sdk_gateway import Gateway, chat, error, mute, reply, reset

import trimtab
from trimtab.sdk import (
    Answer,
    ApiError,
    AsyncClient,
    CallTimedOut,
    Client,
    Embeddings,
    GatewayLost,
    GatewayUnreachable,
    MalformedAnswer,
)
from trimtab.types import RetryPolicy, Usage, new_id

FAST = RetryPolicy(attempts=3, backoff_s=0.001)


def client(gateway, **options):
    return Client(gateway.url, options.pop("api_key", ""), retry=options.pop("retry", FAST), **options)


def test_an_answer_with_all_that_the_gateway_says_of_it():
    degraded = {"x_trimtab_model": "own/small", "x_trimtab_degraded": "true"}
    with Gateway([chat("Paris.", **degraded)]) as gateway, client(gateway) as asking:
        answer = asking.generate("Capital of France?", model="route/quiz")
    assert answer.text == "Paris."
    assert answer.usage == Usage(3, 2)
    assert (answer.call_id, answer.release, answer.model) == ("call-1", "rel_1", "own/small")
    assert answer.degraded is True
    assert answer.finish_reason == "stop"
    assert answer.raw["choices"][0]["message"]["content"] == "Paris."


def test_what_is_sent():
    with Gateway([chat()]) as gateway, client(gateway, api_key="tk-1", model="own/a") as asking:
        asking.generate("Why?", system="Be brief.", temperature=0, tools=None)
        asking.generate([{"role": "user", "content": "And?"}], model="openai/b", n=2)
        first, second = gateway.asked
    assert (first.method, first.path) == ("POST", "/v1/chat/completions")
    assert first.headers["authorization"] == "Bearer tk-1"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["user-agent"] == f"trimtab-python/{trimtab.__version__}"
    assert first.json() == {
        "model": "own/a",
        "temperature": 0,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
    }
    assert second.json() == {"model": "openai/b", "n": 2, "messages": [{"role": "user", "content": "And?"}]}


def test_without_a_model_the_gateway_chooses_and_without_a_key_none_is_sent():
    with Gateway([chat()]) as gateway, client(gateway) as asking:
        asking.generate("Why?")
        assert "model" not in gateway.asked[0].json()
        assert "authorization" not in gateway.asked[0].headers


def test_address_and_key_come_from_the_environment(monkeypatch):
    with Gateway([chat()]) as gateway:
        monkeypatch.setenv("TRIMTAB_BASE_URL", gateway.url.removesuffix("/v1"))
        monkeypatch.setenv("TRIMTAB_API_KEY", "tk-env")
        with trimtab.Client() as asking:
            assert asking.generate("Why?").text == "Hello"
        assert gateway.asked[0].headers["authorization"] == "Bearer tk-env"
        with trimtab.Client(api_key="") as asking:
            asking.generate("Why?")
        assert "authorization" not in gateway.asked[1].headers


@pytest.mark.parametrize("url", ["127.0.0.1:8400", "ftp://x/v1", "http://", "/v1"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(
        ValueError, match=r"must be an http or https address, such as http://127.0.0.1:8400/v1"
    ):
        Client(url)


def test_a_key_that_no_header_can_carry_is_refused_unshown():
    with pytest.raises(ValueError, match="copy it again") as refused:
        Client("http://127.0.0.1:1/v1", "tk-secret\n")
    assert "secret" not in str(refused.value)


def test_the_key_is_in_no_text():
    asking = AsyncClient("http://127.0.0.1:1/v1", "tk-secret", retry=RetryPolicy(attempts=1))
    with pytest.raises(GatewayUnreachable) as failed:
        asyncio.run(asking.generate("x"))
    assert "secret" not in repr(failed.value) + str(failed.value) + repr(asking.transport) + repr(asking)


def test_a_tool_call():
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    play = reply({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    with Gateway([play]) as gateway, client(gateway) as asking:
        answer = asking.generate("Weather?")
    assert answer.text == ""
    assert [(c.id, c.name, c.arguments) for c in answer.tool_calls] == [("c1", "weather", '{"city":"Oslo"}')]
    assert answer.usage is None


def test_embeddings_come_in_the_order_of_the_texts():
    rows = [{"index": 1, "embedding": [0.5, 2]}, {"index": 0, "embedding": [1.0, 0.0]}]
    with (
        Gateway([reply({"data": rows, "usage": {"prompt_tokens": 4}})]) as gateway,
        client(gateway) as asking,
    ):
        both = asking.embed(["a", "b"], model="openai/e")
        asking.embed("one", dimensions=2)
        assert gateway.asked[0].json() == {"model": "openai/e", "input": ["a", "b"]}
        assert gateway.asked[1].json() == {"dimensions": 2, "input": ["one"]}
    assert both.vectors == [[1.0, 0.0], [0.5, 2.0]]
    assert both.usage == Usage(4)
    assert both.call_id == "call-1"


def test_feedback_and_models():
    rows = {"data": [{"id": "own/a"}, {"id": "openai/b"}, "odd"]}
    call = new_id()
    with Gateway([reply({"id": "fb-1"}), reply(rows)]) as gateway, client(gateway) as asking:
        assert asking.feedback(call, score=1, comment="good", name="thumbs", user="u7") == "fb-1"
        assert asking.models() == ["own/a", "openai/b"]
        sent, listed = gateway.asked
    assert sent.path == "/v1/feedback"
    assert sent.json() == {"call_id": call, "score": 1, "comment": "good", "name": "thumbs", "user": "u7"}
    assert (listed.method, listed.path, listed.body) == ("GET", "/v1/models", b"")


def test_feedback_takes_an_answer_or_the_providers_response_id():
    answer = Answer(text="", call_id="c-1")
    foreign = Answer(text="", raw={"id": "chatcmpl-1"})
    with Gateway([reply({"id": "fb-1"})]) as gateway, client(gateway) as asking:
        for call in (answer, foreign, "chatcmpl-2", Embeddings(vectors=[], call_id="c-2")):
            asking.feedback(call, score=0)
        with pytest.raises(ValueError, match="names no call"):
            asking.feedback(Answer(text=""))
        sent = [asked.json() for asked in gateway.asked]
    named = [{k: v for k, v in body.items() if k != "score"} for body in sent]
    assert named == [
        {"call_id": "c-1"},
        {"response_id": "chatcmpl-1"},
        {"response_id": "chatcmpl-2"},
        {"call_id": "c-2"},
    ]


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "invalid_request", False),
        (401, "invalid_api_key", False),
        (404, "model_not_found", False),
        (429, "rate_limited", True),
        (429, "insufficient_quota", False),
        (502, "provider_auth_failed", False),
        (502, "provider_unreachable", True),
        (503, "own_model_unavailable", True),
        (504, "total_timeout", False),
        (500, "something_new", False),
    ],
)
def test_an_error_carries_its_consequences(status, code, retryable):
    with Gateway([error(status, code, "because")]) as gateway:
        with client(gateway, retry=RetryPolicy(attempts=1)) as asking, pytest.raises(ApiError) as failed:
            asking.generate("x")
    caught = failed.value
    assert (caught.status, caught.code, caught.retryable) == (status, code, retryable)
    assert (caught.message, caught.call_id) == ("because", "call-1")
    assert str(caught) == f"because ({code}, status {status}, call call-1)"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (b"", "the gateway gave no reason"),
        (b'{"error": "flat text"}', "flat text"),
        (b'{"error": {"message": null, "code": 7}}', '{"error"'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 10_000, "x" * 200),
    ],
)
def test_an_error_of_another_shape_is_still_an_error(body, said):
    with Gateway([reply(body, 418)]) as gateway, client(gateway) as asking, pytest.raises(ApiError) as failed:
        asking.generate("x")
    assert failed.value.status == 418
    assert failed.value.message.startswith(said)
    assert len(failed.value.message) <= 200


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_an_error_and_is_not_followed(status):
    with (
        Gateway([reply(b"", status, location="/elsewhere")]) as gateway,
        client(gateway, api_key="tk-1") as asking,
    ):
        with pytest.raises(ApiError) as failed:
            asking.generate("x")
        assert failed.value.status == status
        assert len(gateway.asked) == 1


@pytest.mark.parametrize(
    "body", [b"<html>hi</html>", b"[]", b"", b"{}", b'{"choices": []}', b'{"choices": [1]}']
)
def test_an_answer_that_is_none_is_said_to_be_malformed(body):
    with (
        Gateway([reply(body)]) as gateway,
        client(gateway) as asking,
        pytest.raises(MalformedAnswer) as failed,
    ):
        asking.generate("x")
    assert failed.value.call_id == "call-1"


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"data": 5}', b'{"data": [{"index": 0}]}', b'{"data": [{"index": 0, "embedding": "x"}]}'],
)
def test_vectors_that_are_none_are_said_to_be_malformed(body):
    with Gateway([reply(body)]) as gateway, client(gateway) as asking, pytest.raises(MalformedAnswer):
        asking.embed("x")


@pytest.mark.parametrize("status", [429, 503])
def test_what_says_come_again_is_asked_again(status):
    with Gateway([error(status, "rate_limited"), error(status, "rate_limited"), chat()]) as gateway:
        with client(gateway) as asking:
            assert asking.generate("x").text == "Hello"
        assert len(gateway.asked) == 3
        assert gateway.asked[0].body == gateway.asked[2].body


def test_it_gives_up_after_its_attempts():
    with Gateway([error(503, "overloaded")]) as gateway, client(gateway) as asking:
        with pytest.raises(ApiError, match="overloaded"):
            asking.generate("x")
        assert len(gateway.asked) == 3


@pytest.mark.parametrize(
    "play",
    [
        error(400, "invalid_request"),
        error(502, "provider_unreachable"),
        error(500, "x"),
        error(429, "insufficient_quota"),
    ],
)
def test_a_chat_that_may_have_been_made_or_cannot_help_is_not_repeated(play):
    with Gateway([play, chat()]) as gateway, client(gateway) as asking:
        with pytest.raises(ApiError):
            asking.generate("x")
        assert len(gateway.asked) == 1


@pytest.mark.parametrize("play", [reset, lambda door, asked: (_ for _ in ()).throw(OSError)])
def test_a_chat_whose_connection_broke_after_sending_is_not_repeated(play):
    with Gateway([play, chat()]) as gateway, client(gateway) as asking:
        with pytest.raises(GatewayLost):
            asking.generate("x")
        assert len(gateway.asked) == 1


def test_what_may_be_done_twice_is_repeated_when_the_connection_breaks():
    with Gateway([reset, error(502, "provider_unreachable"), reply({"data": [{"id": "own/a"}]})]) as gateway:
        with client(gateway) as asking:
            assert asking.models() == ["own/a"]
        assert len(gateway.asked) == 3


def test_retry_after_is_waited_for():
    with (
        Gateway([error(429, "rate_limited", retry_after="0.3"), chat()]) as gateway,
        client(gateway) as asking,
    ):
        started = time.monotonic()
        asking.generate("x")
        assert time.monotonic() - started >= 0.3


def test_a_retry_after_that_is_too_long_is_left_to_the_caller():
    with (
        Gateway([error(429, "rate_limited", retry_after="3600"), chat()]) as gateway,
        client(gateway) as asking,
    ):
        with pytest.raises(ApiError) as failed:
            asking.generate("x")
        assert failed.value.retry_after_s == 3600
        assert len(gateway.asked) == 1


def test_nobody_there():
    with Gateway([chat()]) as gateway:
        url = gateway.url
    with Client(url, retry=FAST) as asking, pytest.raises(GatewayUnreachable, match="trimtab up") as failed:
        asking.generate("x")
    assert failed.value.status == 0
    assert failed.value.retryable is True


def test_a_gateway_that_comes_up_in_time_is_reached():
    from socket import create_server

    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    gateway = Gateway([chat()])

    def late():
        gateway.__enter__()

    import socket

    real = socket.create_server
    with Client(
        f"http://127.0.0.1:{port}/v1", retry=RetryPolicy(attempts=50, backoff_s=0.05, backoff_max_s=0.1)
    ) as asking:
        timer = threading.Timer(0.2, late)
        socket.create_server = lambda *_a, **_k: real(("127.0.0.1", port))
        try:
            timer.start()
            assert asking.generate("x").text == "Hello"
        finally:
            socket.create_server = real
            timer.join()
            gateway.__exit__()


def test_no_answer_in_time():
    with Gateway([mute]) as gateway, client(gateway) as asking:
        started = time.monotonic()
        with pytest.raises(CallTimedOut, match="timeout_s"):
            asking.generate("x", timeout_s=0.3)
        assert 0.25 < time.monotonic() - started < 3
        assert len(gateway.asked) == 1


def test_the_time_is_for_all_tries_together():
    with Gateway([error(503, "overloaded", retry_after="0.25")]) as gateway:
        with client(gateway, retry=RetryPolicy(attempts=100)) as asking, pytest.raises(ApiError):
            asking.generate("x", timeout_s=0.6)
        assert len(gateway.asked) == 3


def test_threads_share_a_client():
    with Gateway([chat()]) as gateway, client(gateway) as asking:
        texts = []
        threads = [
            threading.Thread(target=lambda: texts.append(asking.generate("x").text)) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["Hello"] * 20


def test_a_closed_client_can_be_used_again():
    with Gateway([chat()]) as gateway:
        asking = client(gateway)
        asking.generate("x")
        asking.close()
        asking.close()
        assert asking.generate("x").text == "Hello"
        asking.close()


def test_a_transport_of_ones_own_takes_the_place_of_http():
    class Echo:
        def __init__(self):
            self.seen = []

        def open(self, request):
            from contextlib import asynccontextmanager

            @asynccontextmanager
            async def opened():
                self.seen.append(request)

                class Reply:
                    status, headers = 200, {"x-trimtab-call-id": "in-process"}

                    async def read(self):
                        return b'{"choices": [{"message": {"content": "inside"}}]}'

                yield Reply()

            return opened()

        async def aclose(self):
            pass

    echo = Echo()
    with Client(transport=echo) as asking:
        answer = asking.generate("x", model="own/a")
    assert (answer.text, answer.call_id) == ("inside", "in-process")
    assert echo.seen[0].path == "/chat/completions"


def test_the_async_client():
    async def run(url):
        async with AsyncClient(url, "", retry=FAST) as asking:
            answers = await asyncio.gather(*(asking.generate("x") for _ in range(10)))
            return [a.text for a in answers]

    with Gateway([error(503, "overloaded"), chat()]) as gateway:
        assert asyncio.run(run(gateway.url)) == ["Hello"] * 10


def test_cancelling_a_task_closes_the_connection():
    async def run(gateway):
        async with AsyncClient(gateway.url, "") as asking:
            task = asyncio.ensure_future(asking.generate("x"))
            assert await asyncio.to_thread(gateway.wait, lambda g: g.asked)
            task.cancel()
            started = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(gateway.wait, lambda g: g.closed_at)
            return gateway.closed_at[0] - started

    with Gateway([mute]) as gateway:
        assert asyncio.run(run(gateway)) < 0.1


def test_ctrl_c_is_heard_and_cancels_the_call():
    script = (
        "import sys, trimtab\n"
        "client = trimtab.Client(sys.argv[1])\n"
        "try:\n    client.generate('x')\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    with Gateway([mute]) as gateway:
        child = subprocess.Popen([sys.executable, "-c", script, gateway.url], stdout=subprocess.PIPE)
        try:
            assert gateway.wait(lambda g: g.asked, 20)
            child.send_signal(2)
            out, _ = child.communicate(timeout=10)
        finally:
            child.kill()
        assert out == b"interrupted\n"
        assert gateway.wait(lambda g: g.closed_at)


def test_a_process_that_never_closes_its_client_ends():
    script = "import sys, trimtab\nprint(trimtab.Client(sys.argv[1]).generate('x').text)\n"
    with Gateway([chat()]) as gateway:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, gateway.url],
            capture_output=True,
            timeout=20,
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello\n", b"")


def test_a_forked_child_can_use_the_parents_client():
    import os

    with Gateway([chat()]) as gateway:
        asking = client(gateway)
        asking.generate("x")
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, asking.generate("x").text.encode())
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
        assert os.read(reader, 100) == b"Hello"
        os.close(reader)
        assert asking.generate("x").text == "Hello"
        asking.close()


def test_a_forked_child_that_does_not_use_the_client_ends_at_once():
    script = (
        "import os, sys, time, trimtab\n"
        "client = trimtab.Client(sys.argv[1])\n"
        "client.generate('x')\n"
        "pid = os.fork()\n"
        "started = time.monotonic()\n"
        "if pid:\n    os.waitpid(pid, 0)\n    print(time.monotonic() - started < 2)\n"
    )
    with Gateway([chat()]) as gateway:
        done = subprocess.run(
            [sys.executable, "-c", script, gateway.url], capture_output=True, timeout=20, check=True
        )
    assert done.stdout == b"True\n"
