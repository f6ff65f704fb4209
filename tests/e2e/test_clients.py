"""The real clients, unchanged but for `base_url`: openai and LangChain."""

import asyncio
from collections.abc import Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from rigs.gateway import POLICY, GatewayRig, fake
from trimtab.testing import FakeServer, Scripted
from trimtab.types import Closed, FeedbackGiven, Snapshot

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
ASK = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def provider() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def gateway(tmp_path, provider: FakeServer) -> Iterator[GatewayRig]:
    snapshot = Snapshot(generation=1, policy=POLICY, providers=(fake("openai", provider.base_url),))
    with GatewayRig(tmp_path, snapshot) as rig:
        yield rig


@pytest.fixture
def client(gateway: GatewayRig) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.url, api_key="sk-the-callers-own", max_retries=0) as client:
        yield client


def test_chat(client: OpenAI, gateway: GatewayRig, provider: FakeServer) -> None:
    reply = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=ASK, user="ada")
    answer = reply.parse()
    assert answer.choices[0].message.content
    [(opened, closed)] = gateway.calls(1)
    assert reply.headers["x-trimtab-call-id"] == opened.id
    assert reply.headers["x-trimtab-model"] == "openai/gpt-4o-mini"
    assert opened.user == "ada"
    assert opened.model_asked == "gpt-4o-mini"
    assert closed.provider_response_id == answer.id
    assert answer.usage is not None
    assert closed.usage.input_tokens == answer.usage.prompt_tokens
    assert closed.usage.output_tokens == answer.usage.completion_tokens
    [seen] = provider.requests
    assert seen.header("authorization") == "Bearer sk-upstream", "the caller's key is not forwarded"
    assert b"sk-the-callers-own" not in b"".join(p.read_bytes() for p in (gateway.folder / "log").iterdir())


def test_streams_pass_piece_by_piece_and_usage_only_when_asked(client: OpenAI, gateway: GatewayRig) -> None:
    plain = list(client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in plain)
    assert all(c.usage is None for c in plain)
    asked = list(
        client.chat.completions.create(
            model="gpt-4o-mini", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    assert asked[-1].usage is not None
    for _, closed in gateway.calls(2):
        assert closed.usage.output_tokens == asked[-1].usage.completion_tokens
        assert not closed.usage.estimated
        assert closed.first_byte_us > 0


def test_tools_streamed_and_not(client: OpenAI, gateway: GatewayRig) -> None:
    answer = client.chat.completions.create(model="m", messages=ASK, tools=[WEATHER], tool_choice="required")
    [call] = answer.choices[0].message.tool_calls or []
    with client.chat.completions.stream(
        model="m", messages=ASK, tools=[WEATHER], tool_choice="required"
    ) as stream:
        for _ in stream:
            pass
        [streamed] = stream.get_final_completion().choices[0].message.tool_calls or []
    assert streamed.function.name == call.function.name == "weather"
    assert streamed.function.arguments == call.function.arguments
    kept = [closed.response for _, closed in gateway.calls(2)]
    assert all(b'"weather"' in response for response in kept), "the ledger keeps tool calls of streams too"


def test_structured_output(client: OpenAI) -> None:
    class Capital(BaseModel):
        city: str
        population: int

    answer = client.chat.completions.parse(model="m", messages=ASK, response_format=Capital)
    assert isinstance(answer.choices[0].message.parsed, Capital)


def test_logprobs(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="m", messages=ASK, logprobs=True, top_logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert len(logprobs.content[0].top_logprobs) == 2
    chunks = client.chat.completions.create(model="m", messages=ASK, logprobs=True, stream=True)
    assert any(c.choices and c.choices[0].logprobs for c in chunks)


def test_fields_that_are_null_count_as_absent(client: OpenAI, gateway: GatewayRig) -> None:
    fields = {"user": None, "stream": None, "stream_options": None, "safety_identifier": None}
    answer = client.chat.completions.create(model="m", messages=ASK, extra_body=fields)
    assert answer.choices[0].message.content
    chunks = list(
        client.chat.completions.create(
            model="m", messages=ASK, stream=True, extra_body={"stream_options": None}
        )
    )
    assert all(c.usage is None for c in chunks)
    gateway.calls(2)


def test_several_choices(client: OpenAI) -> None:
    assert len(client.chat.completions.create(model="m", messages=ASK, n=3).choices) == 3
    chunks = client.chat.completions.create(model="m", messages=ASK, n=3, stream=True)
    assert {c.choices[0].index for c in chunks if c.choices} == {0, 1, 2}


def test_embeddings(client: OpenAI, gateway: GatewayRig) -> None:
    reply = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=8)
    assert [len(row.embedding) for row in reply.data] == [8, 8]
    [(opened, closed)] = gateway.calls(1)
    assert opened.kind == "embeddings"
    assert closed.usage.input_tokens == reply.usage.prompt_tokens


def test_models_lists_what_answers(client: OpenAI) -> None:
    assert "openai/fake-1" in {model.id for model in client.models.list()}


def test_the_async_client(gateway: GatewayRig) -> None:
    async def run() -> list[str]:
        async with AsyncOpenAI(base_url=gateway.url, api_key="sk-x") as client:
            replies = await asyncio.gather(
                *(client.chat.completions.create(model="m", messages=ASK) for _ in range(20))
            )
        return [r.choices[0].message.content or "" for r in replies]

    assert len(set(asyncio.run(run()))) == 1
    gateway.calls(20)


def test_errors_are_the_clients_own_classes(tmp_path) -> None:
    scripts = [Scripted(status=400), Scripted(status=429), Scripted(status=401), Scripted(status=500)]
    with FakeServer(script=scripts) as server:
        policy = POLICY
        snapshot = Snapshot(generation=1, policy=policy, providers=(fake("openai", server.base_url),))
        with (
            GatewayRig(tmp_path, snapshot) as rig,
            OpenAI(base_url=rig.url, api_key="k", max_retries=0) as client,
        ):
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.create(model="m", messages=ASK)
            with pytest.raises(openai.BadRequestError, match="model"):
                client.chat.completions.create(model="", messages=ASK)
            with pytest.raises(openai.NotFoundError, match="route"):
                client.chat.completions.create(model="route/nope", messages=ASK)


def test_feedback_is_an_event_in_the_ledger(client: OpenAI, gateway: GatewayRig) -> None:
    reply = client.chat.completions.with_raw_response.create(model="m", messages=ASK)
    call_id = reply.headers["x-trimtab-call-id"]
    sent = client.post("/feedback", body={"call_id": call_id, "score": 1, "comment": "right"}, cast_to=object)
    assert sent["call_id"] == call_id
    [given] = [r for r in gateway.records() if isinstance(r, FeedbackGiven)]
    assert (given.call_id, given.score, given.comment) == (call_id, 1.0, "right")
    with pytest.raises(openai.BadRequestError, match="call_id"):
        client.post("/feedback", body={"call_id": "chatcmpl-1", "score": 1}, cast_to=object)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_langchain_invoke_batch_and_stream(gateway: GatewayRig) -> None:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(base_url=gateway.url, api_key="sk-x", model="gpt-4o-mini", max_retries=0)
    answer = chat.invoke("What is the capital of France?")
    assert answer.content
    assert answer.usage_metadata is not None
    batch = chat.batch(["one", "two", "three"])
    assert len(batch) == 3
    pieces = list(chat.stream("What is the capital of France?"))
    assert len(pieces) > 1
    assert "".join(str(p.content) for p in pieces) == answer.content
    records = [r for r in gateway.records() if isinstance(r, Closed)]
    assert len(records) == 5
    assert all(r.state == "ok" for r in records)
