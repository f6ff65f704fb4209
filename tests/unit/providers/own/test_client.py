import asyncio
import os
import time
from contextlib import asynccontextmanager

import msgspec
import pytest

from trimtab.providers.own import Endpoint, OwnProvider, Progress, is_wanted, provider, write_endpoint
from trimtab.providers.own.endpoint import write_progress
from trimtab.types import (
    Completion,
    ContentDelta,
    Deadlines,
    Done,
    Frame,
    ProviderSpec,
    ReplyHead,
    Request,
    Started,
)
from trimtab.types.errors import (
    ConfigError,
    ConnectFailed,
    ModelNotFound,
    OwnModelUnavailable,
    ProviderAuthFailed,
    ProviderRejected,
)


class Upstream:
    """What `connect` makes: answers, or fails as told."""

    name = "own"

    def __init__(self, endpoint, fails=None, reply=None):
        self.endpoint, self.fails, self.closed = endpoint, fails, False
        self.reply = reply or Answer()
        self.open_now = 0

    @asynccontextmanager
    async def open(self, request):
        if self.fails:
            raise self.fails
        self.request = request
        self.open_now += 1
        try:
            yield self.reply
        finally:
            self.open_now -= 1

    async def aclose(self):
        self.closed = True


class Answer:
    head = ReplyHead(request_id="r1")

    def __init__(self, text="Hi", finish="stop", frames=()):
        choice = {"message": {"content": text}, "finish_reason": finish}
        body = {"choices": [choice], "system_fingerprint": "b0-unknown"}
        self.body, self._frames = msgspec.json.encode(body), frames

    async def completion(self):
        return Completion(body=self.body, fingerprint="b0-unknown")

    async def frames(self):
        for frame in self._frames:
            yield frame


def endpoint(port=1, **changes):
    known = {
        "api_key": f"key{port}",
        "model": "small",
        "fingerprint": "own-abc",
        "runtime_fingerprint": "b0-unknown",
    }
    return Endpoint(base_url=f"http://127.0.0.1:{port}/v1", pid=os.getpid(), **{**known, **changes})


def request(model="small", first_byte_s=5.0, kind="chat", **body):
    body = {"messages": [{"role": "user", "content": "Hello"}], **body}
    return Request(
        kind=kind,
        model=model,
        body={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()},
        stream=False,
        deadlines=Deadlines(first_byte_s=first_byte_s),
    )


class Links:
    """Remembers what `connect` made."""

    def __init__(self, **upstreams):
        self.made, self.upstreams = [], upstreams

    def __call__(self, found):
        made = Upstream(found, **self.upstreams.get(found.api_key, {}))
        self.made.append(made)
        return made


async def ask(own, asked=None):
    async with own.open(asked or request()) as reply:
        return await reply.completion()


def test_an_answer_carries_our_fingerprint(tmp_path):
    write_endpoint(tmp_path, endpoint())
    links = Links()
    whole = asyncio.run(ask(OwnProvider(links, tmp_path)))
    assert whole.fingerprint == "own-abc"
    assert msgspec.json.decode(whole.body)["system_fingerprint"] == "own-abc"
    assert links.made[0].open_now == 0


def test_only_the_field_is_replaced_never_the_text(tmp_path):
    write_endpoint(tmp_path, endpoint())
    said = 'the field "system_fingerprint":"b0-unknown" in an answer'
    links = Links(key1={"reply": Answer(said)})
    whole = asyncio.run(ask(OwnProvider(links, tmp_path)))
    decoded = msgspec.json.decode(whole.body)
    assert decoded["choices"][0]["message"]["content"] == said
    assert decoded["system_fingerprint"] == "own-abc"


def test_one_client_serves_all_calls(tmp_path):
    write_endpoint(tmp_path, endpoint())
    links = Links()

    async def run():
        own = OwnProvider(links, tmp_path)
        await asyncio.gather(*(ask(own) for _ in range(10)))
        await own.aclose()

    asyncio.run(run())
    assert len(links.made) == 1
    assert links.made[0].closed


def test_a_start_is_waited_for(tmp_path):
    links = Links()

    async def run():
        own = OwnProvider(links, tmp_path)
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(ask(own)) for _ in range(5)]
            while not is_wanted(tmp_path):
                await asyncio.sleep(0.01)
            write_endpoint(tmp_path, endpoint())
        assert len([call.result() for call in calls]) == 5

    asyncio.run(run())
    assert len(links.made) == 1


@pytest.mark.parametrize(
    ("progress", "says", "retry_s"),
    [
        (None, "is not running", 2.0),
        (Progress(state="downloading", fraction=0.35), "downloading 35%", 10.0),
        (Progress(state="loading"), "loading", 2.0),
        (Progress(state="failed", reason="libgomp is missing"), "cannot start: libgomp is missing", 30.0),
    ],
)
def test_who_asks_too_early_is_told_how_far_it_is(tmp_path, progress, says, retry_s):
    if progress:
        write_progress(tmp_path, progress)
    own = OwnProvider(Links(), tmp_path, start_wait_s=0.2)
    with pytest.raises(OwnModelUnavailable) as caught:
        asyncio.run(ask(own))
    assert says in caught.value.message
    assert caught.value.retry_after_s == retry_s
    assert is_wanted(tmp_path)


def test_a_failed_start_is_not_waited_for(tmp_path):
    write_progress(tmp_path, Progress(state="failed", reason="no pip"))
    began = time.monotonic()
    with pytest.raises(OwnModelUnavailable, match="no pip"):
        asyncio.run(ask(OwnProvider(Links(), tmp_path, start_wait_s=60)))
    assert time.monotonic() - began < 5


def test_the_wait_keeps_the_calls_own_deadline(tmp_path):
    began = time.monotonic()
    with pytest.raises(OwnModelUnavailable):
        asyncio.run(ask(OwnProvider(Links(), tmp_path, start_wait_s=60), request(first_byte_s=0.3)))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("error", [ConnectFailed("refused"), ProviderAuthFailed("another key")])
def test_a_restarted_model_is_found(tmp_path, error):
    write_endpoint(tmp_path, endpoint(1))
    links = Links(key1={"fails": error})

    async def run():
        own = OwnProvider(links, tmp_path)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(ask(own))
            while not is_wanted(tmp_path):  # asked for once the old one was found dead
                await asyncio.sleep(0.01)
            write_endpoint(tmp_path, endpoint(2))
        assert call.result().fingerprint == "own-abc"

    asyncio.run(run())
    assert [made.endpoint.api_key for made in links.made] == ["key1", "key2"]
    assert [made.closed for made in links.made] == [True, False]


def test_a_dead_model_without_successor_is_not_asked_again(tmp_path):
    write_endpoint(tmp_path, endpoint(1))
    links = Links(key1={"fails": ConnectFailed("refused")})
    with pytest.raises(OwnModelUnavailable):
        asyncio.run(ask(OwnProvider(links, tmp_path, start_wait_s=0.2)))
    assert len(links.made) == 1


def test_a_full_queue_says_so_and_empties(tmp_path):
    write_endpoint(tmp_path, endpoint())

    async def run():
        own = OwnProvider(Links(), tmp_path)
        gate, answered, refused = asyncio.Event(), 0, 0

        async def hold():
            nonlocal answered
            async with own.open(request()):
                await gate.wait()
                answered += 1

        async def be_refused():
            nonlocal refused
            with pytest.raises(OwnModelUnavailable, match="busy"):
                await ask(own)
            refused += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(32):
                group.create_task(hold())
            await asyncio.sleep(0)
            for _ in range(8):
                group.create_task(be_refused())
            while refused < 8:
                await asyncio.sleep(0)
            gate.set()
        assert (answered, refused) == (32, 8)
        await ask(own)

    asyncio.run(run())


def test_another_model_is_not_found(tmp_path):
    write_endpoint(tmp_path, endpoint())
    own = OwnProvider(Links(), tmp_path)
    with pytest.raises(ModelNotFound, match=r"own/small, not own/gpt-4o"):
        asyncio.run(ask(own, request("gpt-4o")))
    assert asyncio.run(ask(own, request("default"))).fingerprint == "own-abc"


def test_embeddings_are_refused(tmp_path):
    with pytest.raises(ProviderRejected, match="no embeddings") as caught:
        asyncio.run(ask(OwnProvider(Links(), tmp_path), request(kind="embeddings")))
    assert caught.value.status == 400


def test_a_context_overflow_reads_as_openais(tmp_path):
    write_endpoint(tmp_path, endpoint(context_tokens=4096))
    body = b'{"error":{"code":400,"type":"exceed_context_size_error","n_prompt_tokens":9031,"n_ctx":4096}}'
    links = Links(key1={"fails": ProviderRejected("too long", status=400, body=body)})
    with pytest.raises(ProviderRejected, match=r"4096 tokens.* have 9031") as caught:
        asyncio.run(ask(OwnProvider(links, tmp_path)))
    assert msgspec.json.decode(caught.value.body)["error"]["code"] == "context_length_exceeded"


def test_other_refusals_pass_unchanged(tmp_path):
    write_endpoint(tmp_path, endpoint())
    refusal = ProviderRejected("temperature", status=400, body=b'{"error":{}}')
    with pytest.raises(ProviderRejected) as caught:
        asyncio.run(ask(OwnProvider(Links(key1={"fails": refusal}), tmp_path)))
    assert caught.value is refusal


FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("text", "finish", "ok"), [("Hello!", "stop", False), ("{}", "stop", True), ('{"a', "length", True)]
)
def test_an_unenforced_schema_is_noticed(tmp_path, text, finish, ok):
    write_endpoint(tmp_path, endpoint())
    own = OwnProvider(Links(key1={"reply": Answer(text, finish)}), tmp_path)
    if ok:
        assert asyncio.run(ask(own, request(response_format=FORMAT))).fingerprint == "own-abc"
    else:
        with pytest.raises(ProviderRejected, match="could not enforce"):
            asyncio.run(ask(own, request(response_format=FORMAT)))
        assert asyncio.run(ask(own)).fingerprint == "own-abc"


@pytest.mark.parametrize(("first", "ok"), [("Sure", False), (' {"a"', True), ("4", True)])
def test_an_unenforced_schema_is_noticed_in_a_stream(tmp_path, first, ok):
    write_endpoint(tmp_path, endpoint())
    raw = b'data: {"system_fingerprint":"b0-unknown"}\n\n'
    frames = (
        Frame(raw, (Started(fingerprint="b0-unknown"),)),
        Frame(raw, (ContentDelta(" "),)),
        Frame(raw, (ContentDelta(first),)),
        Frame(raw, (ContentDelta("xyz"),)),
        Frame(b"data: [DONE]\n\n", (Done(),)),
    )
    seen = []

    async def run():
        async with OwnProvider(Links(key1={"reply": Answer(frames=frames)}), tmp_path).open(
            request(response_format=FORMAT, stream=True)
        ) as reply:
            async for frame in reply.frames():
                seen.append(frame)

    if ok:
        asyncio.run(run())
        assert len(seen) == 5
        assert seen[-1] == frames[-1]
    else:
        with pytest.raises(ProviderRejected, match="could not enforce"):
            asyncio.run(run())
        assert len(seen) == 2
    assert seen[0].raw == b'data: {"system_fingerprint":"own-abc"}\n\n'
    assert seen[0].events == (Started(fingerprint="own-abc"),)


def test_models(tmp_path):
    own = OwnProvider(Links(), tmp_path)
    assert asyncio.run(own.models()) == ["smollm2-135m-instruct"]
    write_endpoint(tmp_path, endpoint())
    assert asyncio.run(own.models()) == ["small"]


class Context:
    def __init__(self, run_dir):
        self.run_dir, self.specs = run_dir, []

    def openai(self, spec):
        self.specs.append(spec)
        return Upstream(endpoint())


@pytest.mark.parametrize(
    "spec",
    [
        ProviderSpec(name="own", kind="own", base_url="http://127.0.0.1:11434/v1", api_key="k"),
        ProviderSpec(name="own", kind="own", options={"url": "http://127.0.0.1:11434/v1"}, api_key="k"),
    ],
)
def test_a_url_is_an_openai_compatible_server(tmp_path, spec):
    context = Context(tmp_path)
    assert isinstance(provider(spec, context), Upstream)
    assert [(s.kind, s.base_url, s.api_key) for s in context.specs] == [
        ("openai", "http://127.0.0.1:11434/v1", "k")
    ]


def test_the_factory_connects_to_the_model_process_and_nothing_else(tmp_path):
    context = Context(tmp_path)
    write_endpoint(tmp_path, endpoint(7))
    spec = ProviderSpec(
        name="own", kind="own", models=("small",), api_key="users", proxy="http://p:1", headers={"A": "b"}
    )
    own = provider(spec, context)
    assert context.specs == []
    asyncio.run(ask(own))
    assert context.specs == [ProviderSpec(name="own", base_url="http://127.0.0.1:7/v1", api_key="key7")]


@pytest.mark.parametrize(
    "options", [{"start_wait_s": "8"}, {"start_wait_s": -1}, {"start_wait_s": True}, {"url": 3}]
)
def test_options_that_cannot_be_used_are_named(tmp_path, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        provider(ProviderSpec(name="own", kind="own", options=options), Context(tmp_path))
