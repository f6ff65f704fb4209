"""The own model for real: its process, llama.cpp, the built-in weights, and the client that workers use."""

import asyncio
import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from trimtab.providers import ProviderContext
from trimtab.providers.own import fetch_weights, is_wanted, provider, read_endpoint, read_progress
from trimtab.providers.own.schema import grammar
from trimtab.types import ContentDelta, Deadlines, Done, Finish, ProviderSpec, Request, UsageReport
from trimtab.types.errors import OwnModelUnavailable, ProviderError, ProviderRejected

pytestmark = pytest.mark.local
pytest.importorskip("xllamacpp")

SCRIPT = """
import signal, sys, threading
from pathlib import Path
from trimtab.providers.own import ModelOptions, run_model
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
run_dir, model_path, log_file = sys.argv[1:]
run_model(
    ModelOptions(
        run_dir=Path(run_dir),
        model_path=Path(model_path) if model_path else None,
        log_file=Path(log_file) if log_file else None,
    ),
    stop,
    lambda endpoint: print("ready", flush=True),
)
"""
PATIENCE_S = 60.0
"""For a machine that does much else; nothing here waits that long on a quiet one."""


def start(run_dir, model_path="", log_file=""):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(run_dir), str(model_path), str(log_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process):
    process.terminate()
    try:
        return process.communicate(timeout=20)[0]
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def weights():
    return fetch_weights().path


@pytest.fixture(scope="module")
def model(tmp_path_factory, weights):
    """A running model process: its run folder and its pid."""
    run_dir = tmp_path_factory.mktemp("run")
    process = start(run_dir)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield run_dir, process.pid
    assert "Traceback" not in end(process)


def own(run_dir):
    return provider(ProviderSpec(name="own", kind="own"), ProviderContext(run_dir=run_dir))


def request(text="What is the capital of France?", **body):
    messages = [{"role": "user", "content": text}]
    body = {"messages": messages, "temperature": 0, **body}
    return Request(
        kind="chat",
        model="default",
        body={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()},
        stream=bool(body.get("stream")),
        deadlines=Deadlines(),
    )


async def whole(served, text="What is the capital of France?", **body):
    async with served.open(request(text, **body)) as reply:
        return await reply.completion()


async def stream(served, text="What is the capital of France?", **body):
    async with served.open(request(text, stream=True, **body)) as reply:
        return [frame async for frame in reply.frames()]


@asynccontextmanager
async def serving(run_dir):
    served = own(run_dir)
    try:
        yield served
    finally:
        await served.aclose()


def run(run_dir, work):
    """Run `work(provider)` on a loop of its own."""

    async def inner():
        async with serving(run_dir) as served:
            return await work(served)

    return asyncio.run(inner())


def said(completion):
    return msgspec.json.decode(completion.body)["choices"][0]["message"]["content"]


def test_the_capital_of_france(model):
    completion = run(model[0], whole)
    assert said(completion) == "The capital of France is Paris."
    endpoint = read_endpoint(model[0])
    assert endpoint is not None
    assert completion.fingerprint == endpoint.fingerprint
    assert msgspec.json.decode(completion.body)["system_fingerprint"] == endpoint.fingerprint
    assert completion.model == "smollm2-135m-instruct"
    assert completion.finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.output_tokens == 8
    assert completion.usage.input_tokens > 20


def test_a_stream_says_the_same_and_ends(model):
    frames = run(model[0], lambda served: stream(served, stream_options={"include_usage": True}))
    events = [event for frame in frames for event in frame.events]
    text = "".join(event.text for event in events if isinstance(event, ContentDelta))
    assert text == "The capital of France is Paris."
    assert isinstance(events[-1], Done)
    assert frames[-1].raw == b"data: [DONE]\n\n"
    assert [event.reason for event in events if isinstance(event, Finish)] == ["stop"]
    usage = [event.usage for event in events if isinstance(event, UsageReport)]
    assert [u.output_tokens for u in usage] == [8]
    assert b"b0-unknown" not in b"".join(frame.raw for frame in frames)


def test_a_limit_ends_an_answer(model):
    completion = run(model[0], lambda served: whole(served, "Tell me a story.", max_tokens=5))
    assert completion.finish_reason == "length"
    assert completion.usage.output_tokens == 5


def test_log_probabilities(model):
    completion = run(model[0], lambda served: whole(served, logprobs=True, top_logprobs=3, max_tokens=4))
    tokens = msgspec.json.decode(completion.body)["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == "The capital of France"
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 3 for token in tokens)

    frames = run(model[0], lambda served: stream(served, logprobs=True, max_tokens=4))
    deltas = [e for frame in frames for e in frame.events if isinstance(e, ContentDelta) and e.text]
    streamed = [msgspec.json.decode(delta.logprobs)["content"][0]["token"] for delta in deltas]
    assert streamed == [token["token"] for token in tokens]


def test_temperature_zero_is_the_same_alone_and_in_company(model):
    async def work(served):
        alone = said(await whole(served, "Name three animals.", max_tokens=12))
        crowd = await asyncio.gather(*(whole(served, "Name three animals.", max_tokens=12) for _ in range(4)))
        assert {said(completion) for completion in crowd} == {alone}

    run(model[0], work)


QUESTIONS = (
    ("What is the capital of Italy?", "rome"),
    ("What is the capital of Japan?", "tokyo"),
    ("What is 2 + 2?", r"\b(4|four)\b"),
    ("How many days are in a week?", r"\b(7|seven)\b"),
    ("What is the opposite of hot?", "cold"),
    ("What do bees make?", "honey"),
    ("Who wrote Romeo and Juliet?", "shakespeare"),
    ("What is the largest ocean on Earth?", "pacific"),
    ("Which planet is known as the Red Planet?", "mars"),
    ("Who painted the Mona Lisa?", "leonardo|da vinci"),
)


def test_simple_questions_are_answered_rightly(model):
    async def right(served, question, expected):
        answer = said(await whole(served, question, max_tokens=32))
        return bool(re.search(expected, answer, re.IGNORECASE))

    async def work(served):
        return await asyncio.gather(*(right(served, *question) for question in QUESTIONS))

    assert sum(run(model[0], work)) >= 9


def schema_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def record(**properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TASKS = (
    ("What is the capital of France?", record(capital={"type": "string"}), {"capital": "Paris"}),
    ("What is 2 + 2?", record(answer={"type": "integer"}), {"answer": 4}),
    (
        "The review says: I love this phone. What is the sentiment?",
        record(sentiment={"enum": ["positive", "negative"]}),
        {"sentiment": "positive"},
    ),
    (
        "Extract name and age: Anna is 31 years old.",
        record(name={"type": "string"}, age={"type": "integer"}),
        {"name": "Anna", "age": 31},
    ),
    (
        "Extract the city and the date: The meeting is in Berlin on 2024-05-06.",
        record(city={"type": "string"}, date={"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}),
        {"city": "Berlin", "date": "2024-05-06"},
    ),
)


def test_a_schema_binds_and_helps(model):
    async def work(served):
        for question, schema, expected in TASKS:
            completion = await whole(served, question, response_format=schema_format(schema), max_tokens=80)
            assert msgspec.json.decode(said(completion)) == expected
        frames = await stream(served, TASKS[3][0], response_format=schema_format(TASKS[3][1]))
        deltas = (e.text for frame in frames for e in frame.events if isinstance(e, ContentDelta))
        assert msgspec.json.decode("".join(deltas)) == TASKS[3][2]
        loose = await whole(served, "Describe Paris.", response_format={"type": "json_object"}, max_tokens=40)
        assert loose.finish_reason == "length" or isinstance(msgspec.json.decode(said(loose)), dict)

    run(model[0], work)


SCHEMAS = {
    "pattern": {"type": "string", "pattern": r"^\d{3}$"},
    "letters": {"type": "string", "pattern": r"^\p{L}{3}$"},
    "lengths": {"type": "string", "minLength": 2, "maxLength": 3},
    "date": {"type": "string", "format": "date"},
    "date-time": {"type": "string", "format": "date-time"},
    "time": {"type": "string", "format": "time"},
    "duration": {"type": "string", "format": "duration"},
    "ipv4": {"type": "string", "format": "ipv4"},
    "ipv6": {"type": "string", "format": "ipv6"},
    "uuid": {"type": "string", "format": "uuid"},
    "uri": {"type": "string", "format": "uri", "maxLength": 40},
    "hostname": {"type": "string", "format": "hostname", "maxLength": 20},
    "email": {"type": "string", "format": "email", "maxLength": 30},
    "unknown format": {"type": "string", "format": "wobble", "maxLength": 5},
    "oneOf": {"oneOf": [{"type": "integer", "maximum": 9, "minimum": 0}, {"type": "boolean"}]},
    "allOf": {"allOf": [{"type": "integer"}, {"minimum": 3, "maximum": 5}]},
    "multipleOf": {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 50},
    "ref": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "boolean"}}},
    "definitions": {"$ref": "#/definitions/a", "definitions": {"a": {"type": "boolean"}}},
    "notes": {
        **{"type": "integer", "minimum": 0, "maximum": 5, "title": "x", "description": "y", "default": 3},
        **{"examples": [1], "$schema": "http://json-schema.org/draft-07/schema#", "$comment": "c"},
        **{"deprecated": True, "readOnly": True, "unheardOf": 1, "$id": "https://example.com/x"},
    },
    "types": {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
    "const": {"const": {"a": [1, "x", None]}},
    "enum": {"enum": ["a", 1, None, {"b": 2}]},
    "patternProperties": {
        **{"type": "object", "patternProperties": {"^x": {"type": "boolean"}}},
        **{"additionalProperties": False, "maxProperties": 1},
    },
    "properties": {
        **{"type": "object", "minProperties": 1, "maxProperties": 1},
        "additionalProperties": {"type": "boolean"},
    },
    "prefixItems": {
        **{"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}]},
        **{"items": False, "minItems": 2},
    },
    "old items": {"type": "array", "items": [{"type": "boolean"}], "additionalItems": False},
    "exclusive": {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 4},
    "true": True,
    "empty": {"maxLength": 3},
    "no more": {"type": "object", "properties": {"a": {"type": "null"}}, "unevaluatedProperties": True},
    "overlap": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    "conflict": {"allOf": [{"type": "integer"}, {"type": "string"}]},
    "not": {"not": {"type": "string"}},
    "contains": {"type": "array", "contains": {"type": "integer"}},
    "long": {"type": "array", "items": {"type": "boolean"}, "maxItems": 100_000},
    "longest": {"type": "array", "items": {"type": "boolean"}, "maxItems": 1000},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_enforced_or_refused_never_ignored(model, name):
    try:
        grammar(SCHEMAS[name])
    except ProviderRejected:
        assert name in ("not", "contains", "no more")
        return

    async def work(served):
        body = {"response_format": schema_format(SCHEMAS[name]), "max_tokens": 48}
        return await whole(served, "Say something.", **body)

    if name in ("overlap", "conflict"):
        with pytest.raises(ProviderRejected, match="could not enforce"):
            run(model[0], work)
        return
    completion = run(model[0], work)
    if completion.finish_reason == "stop":
        msgspec.json.decode(said(completion))
    else:
        assert said(completion)[0] in '{["'


ASKED = {"messages": [{"role": "user", "content": "Hi"}], "prompt": "Hi", "content": "Hi", "n_predict": 1}


def test_the_port_is_ours_alone(model):
    endpoint = read_endpoint(model[0])
    assert endpoint is not None
    address = urlsplit(endpoint.base_url)
    assert address.hostname == "127.0.0.1"
    for key, status in (("", 401), ("Bearer wrong", 401), (f"Bearer {endpoint.api_key}", 200)):
        for path in (
            "/v1/chat/completions",
            "/v1/completions",
            "/completion",
            "/tokenize",
            "/apply-template",
        ):
            link = http.client.HTTPConnection("127.0.0.1", address.port, timeout=PATIENCE_S)
            body = msgspec.json.encode(ASKED)
            link.request("POST", path, body, {"authorization": key, "content-type": "application/json"})
            assert link.getresponse().status == status, (path, key)
            link.close()
    for path in ("/", "/index.html", "/slots", "/metrics"):
        link = http.client.HTTPConnection("127.0.0.1", address.port, timeout=PATIENCE_S)
        link.request("GET", path)
        assert link.getresponse().status in (401, 404), path
        link.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_it_listens_on_loopback_only(model):
    endpoint = read_endpoint(model[0])
    assert endpoint is not None
    port = f"{urlsplit(endpoint.base_url).port:04X}"
    rows = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    listening = [
        row.split()[1] for row in rows if row.split()[3] == "0A" and row.split()[1].endswith(f":{port}")
    ]
    loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper() if sys.byteorder == "little" else "7F000001"
    assert listening == [f"{loopback}:{port}"]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_cancelled_call_frees_its_slot_and_its_place_in_the_queue(model, streamed):
    async def endless(served, begun):
        async with served.open(
            request("Count for ever.", ignore_eos=True, max_tokens=4000, stream=streamed)
        ) as reply:
            if not streamed:
                await reply.completion()
            async for _ in reply.frames():
                begun.release()

    async def work(served):
        begun = asyncio.Semaphore(0)
        calls = [asyncio.ensure_future(endless(served, begun)) for _ in range(5)]  # two run, three wait
        if streamed:
            await asyncio.wait_for(begun.acquire(), PATIENCE_S)
        else:
            await asyncio.wait(calls, timeout=0.5)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        began = time.monotonic()
        assert "Paris" in said(await whole(served))
        # Five times 4,000 tokens would take minutes.
        assert time.monotonic() - began < 20

    run(model[0], work)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_prompt_that_is_too_long_is_refused(model, streamed):
    with pytest.raises(ProviderRejected, match="3072 tokens") as caught:
        run(model[0], lambda served: (stream if streamed else whole)(served, "word " * 5000))
    assert caught.value.status == 400
    assert msgspec.json.decode(caught.value.body)["error"]["code"] == "context_length_exceeded"
    assert "Paris" in said(run(model[0], whole))


@pytest.mark.parametrize(
    "body",
    [{"temperature": "hot"}, {"n": 100}, {"top_logprobs": 3}, {"grammar": "root := nonsense"}],
    ids=lambda body: next(iter(body)),
)
def test_bad_fields_are_refused_with_400(model, body):
    with pytest.raises(ProviderRejected) as caught:
        run(model[0], lambda served: whole(served, **body))
    assert caught.value.status == 400


def test_fields_without_meaning_here_do_no_harm(model):
    body = {"store": True, "metadata": {"a": "b"}, "user": "u", "seed": None, "stop": None, "logit_bias": {}}
    more = {"parallel_tool_calls": False, "reasoning_effort": "low", "service_tier": "auto", "logprobs": None}
    assert "Paris" in said(run(model[0], lambda served: whole(served, **body, **more)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_connections_and_calls_leave_nothing_behind(model):
    run_dir, pid = model

    def rss_mb():
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024

    def threads():
        return len(list(Path(f"/proc/{pid}/task").iterdir()))

    async def work(served):
        await asyncio.gather(*(whole(served, f"What is {n} + 1?", max_tokens=2) for n in range(16)))

    run(run_dir, work)
    before = rss_mb()
    run(run_dir, work)
    assert rss_mb() - before < 5
    assert rss_mb() < 345
    deadline = time.monotonic() + PATIENCE_S
    while threads() > 16 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert threads() <= 16


def test_a_killed_model_is_found_again_after_its_restart(tmp_path, weights):
    first = start(tmp_path)
    assert first.stdout.readline() == "ready\n"

    async def work(served):
        nonlocal first
        assert "Paris" in said(await whole(served))
        first.kill()
        first.communicate()
        assert not is_wanted(tmp_path)
        first = start(tmp_path)  # what the supervisor does
        for _ in range(5):
            with suppress(OwnModelUnavailable):  # a slow machine: what a caller's retry is for
                return said(await whole(served))
        return None

    try:
        assert "Paris" in run(tmp_path, work)
    finally:
        assert end(first) in ("", "ready\n")
    assert read_endpoint(tmp_path) is None
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize("streamed", [True, False])
def test_sigterm_ends_it_in_the_middle_of_an_answer(tmp_path, weights, streamed):
    process = start(tmp_path)
    assert process.stdout.readline() == "ready\n"

    async def work(served):
        asked = request("Count.", ignore_eos=True, max_tokens=2000, stream=streamed)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(broken(served, asked))
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
        return call.result()

    async def broken(served, asked):
        try:
            async with served.open(asked) as reply:
                if not streamed:
                    return await reply.completion()
                return [frame async for frame in reply.frames()]
        except ProviderError as error:
            return error

    began = time.monotonic()
    result = run(tmp_path, work)
    assert process.wait(timeout=20) == 0
    assert time.monotonic() - began < 15
    assert isinstance(result, ProviderError)
    assert result.retryable
    process.communicate()
    assert not (tmp_path / "model.json").exists()


def test_the_native_log_has_its_file_and_no_prompts(tmp_path, weights):
    log = tmp_path / "llama.log"
    process = start(tmp_path, log_file=log)
    deadline = time.monotonic() + PATIENCE_S
    while read_endpoint(tmp_path) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "Paris" in said(run(tmp_path, whole))
    key = read_endpoint(tmp_path).api_key
    end(process)
    text = log.read_text(errors="replace")
    assert "SmolLM2" in text
    assert "capital of France" not in text
    assert key not in text
    assert log.stat().st_mode & 0o077 == 0


def test_a_damaged_model_is_named_not_died_of(tmp_path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF" + b"\x03\0\0\0" + b"\xff" * 4096)
    process = start(tmp_path, model_path=path)
    output = process.communicate(timeout=PATIENCE_S)[0]
    assert "ConfigError" in output
    assert "mine.gguf" in output
    progress = read_progress(tmp_path)
    assert progress is not None
    assert "could not load" in progress.reason


def test_a_given_file_is_served_under_its_name(tmp_path, weights):
    path = tmp_path / "My Model.gguf"
    path.symlink_to(weights)
    process = start(tmp_path, model_path=path)
    try:
        assert process.stdout.readline() == "ready\n"
        endpoint = read_endpoint(tmp_path)
        assert endpoint is not None
        assert endpoint.model == "my-model"
        assert run(tmp_path, whole).model == "my-model"
    finally:
        end(process)
