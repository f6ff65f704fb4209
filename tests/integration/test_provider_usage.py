"""Every kind of usage that upstreams report, through a real gateway: the rows sum to the bill, to the nano-USD.

Each file of tests/usage is one provider: facts and shapes written by hand from the pages in `sources`. A case has the
prices of its model (USD per million tokens), the `usage` that the provider sends, and `parts`, each [count, price per
million], which the bill is: a request or a search for a fee counts as a million. Streams have usage where the provider
has it: at the end (`end`), in every chunk as running totals (`every`), in the chunk that finishes (`with_choice`), in
that choice itself (`choice`), in `x_groq`, with zeros behind it (`zeros_after`), or in two pieces (`in_halves`).
"""

import http.client
import json
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest

from rigs.gateway import POLICY, GatewayRig, fake
from trimtab.testing import FakeServer, Scripted
from trimtab.types import Closed, Snapshot

FOLDER = Path(__file__).parents[1] / "usage"
PROVIDERS = sorted(path.stem for path in FOLDER.glob("*.json"))
ANSWER = "Paris is the capital of France."


def cases_of(provider: str) -> list[dict[str, Any]]:
    return json.loads((FOLDER / f"{provider}.json").read_text())["cases"]


def bill_of(case: dict[str, Any]) -> int:
    """Return what the parts of a case come to, in nano-USD, rounded once."""
    total = sum(Decimal(count) * Decimal(price) * 1000 for count, price in case["parts"])
    return int(Decimal(total).to_integral_value(ROUND_HALF_EVEN))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_fixture_says_where_it_is_from_and_its_bill_is_its_parts(provider):
    fixture = json.loads((FOLDER / f"{provider}.json").read_text())
    assert fixture["about"]
    assert all(source.startswith("https://") for source in fixture["sources"])
    for case in fixture["cases"]:
        assert case.get("estimated") or case["bill_nusd"] == bill_of(case), case["name"]


def body_of(case: dict[str, Any]) -> bytes:
    """Return the whole answer."""
    if case.get("kind") == "embeddings":
        head: dict[str, Any] = {"object": "list", "data": [{"index": 0, "embedding": [1.0]}]}
    else:
        message = {"role": "assistant", "content": ANSWER}
        head = {"id": "r", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    head |= {"model": "m", **case.get("reply", {})}
    if case["usage"] is not None:
        head["usage"] = case["usage"]
    return json.dumps(head).encode()


def stream_of(case: dict[str, Any]) -> bytes:
    """Return the same answer as server-sent events, its usage where the provider has it."""
    where, usage = case.get("stream", "end"), case["usage"]
    words = [word + " " for word in ANSWER.split()]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in words
    ]
    last: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    chunks.append(last)
    if usage is not None:
        place(chunks, last, where, usage)
    chunks[-1] |= case.get("reply", {})
    events = [b"data: " + json.dumps({"id": "r", "model": "m", **chunk}).encode() for chunk in chunks]
    return b"\n\n".join([*events, b"data: [DONE]", b""])


def place(chunks: list[dict[str, Any]], last: dict[str, Any], where: str, usage: Any) -> None:
    """Put usage into a stream's chunks."""
    if where == "x_groq":
        last["x_groq"] = {"id": "req_1", "usage": usage}
    elif where == "choice":
        last["choices"][0]["usage"] = usage
    elif where == "with_choice":
        last["usage"] = usage
    elif where == "every":
        for at, chunk in enumerate(chunks):
            wrote = usage["completion_tokens"] * at // len(chunks) if "completion_tokens" in usage else 0
            chunk["usage"] = {"prompt_tokens": usage["prompt_tokens"], "completion_tokens": wrote}
            chunk["usage"]["total_tokens"] = usage["prompt_tokens"] + wrote
        last["usage"] = usage
    elif where == "in_halves":
        chunks[0]["usage"] = {"prompt_tokens": usage["prompt_tokens"], "completion_tokens": 1}
        last["usage"] = {"completion_tokens": usage["completion_tokens"]}
    else:
        chunks.append({"choices": [], "usage": usage})
        if where == "zeros_after":
            zeros = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)
            chunks.append({"choices": [], "usage": zeros})


def ask(port: int, model: str, case: dict[str, Any], *, stream: bool) -> bytes:
    """Make one call through the gateway and read the whole answer."""
    kind = case.get("kind", "chat")
    path = {"chat": "/v1/chat/completions", "embeddings": "/v1/embeddings"}[kind]
    words: dict[str, Any] = {"messages": [{"role": "user", "content": "The capital?"}]}
    request = {"model": model, **(words if kind == "chat" else {"input": "x"}), "stream": stream}
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    link.request("POST", path, json.dumps(request), {"Content-Type": "application/json"})
    reply = link.getresponse()
    body = reply.read()
    link.close()
    assert reply.status == 200, body
    return body


def calls_of(provider: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield (model, case, whether it is streamed)."""
    for number, case in enumerate(cases_of(provider)):
        for stream in (False, True):
            if not (stream and case.get("kind") == "embeddings"):
                yield f"case-{number}", case, stream


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_rows_of_a_provider_sum_to_its_bill(provider, tmp_path):
    made = list(calls_of(provider))
    answers = iter([stream_of(case) if stream else body_of(case) for _, case, stream in made])

    def answer(_ask: object) -> Scripted:
        return Scripted(body=next(answers))

    catalog = {"models": {}}
    with FakeServer(script=answer) as server:
        # One provider a case: an option may say how its figures are nested.
        specs = []
        for number, case in enumerate(cases_of(provider)):
            options = {"usage": case["options"]} if "options" in case else {}
            specs.append(fake(f"p{number}", server.base_url, options=options))
            prices = [{"from": "2026-01-01", **case["prices"]}]
            catalog["models"][f"p{number}/case-{number}"] = {"prices": prices}
        snapshot = Snapshot(generation=1, policy=POLICY, providers=tuple(specs), catalog=catalog)
        with GatewayRig(tmp_path, snapshot) as rig:
            for model, case, stream in made:
                ask(rig.port, f"p{model[5:]}/{model}", case, stream=stream)
            rows = rig.calls(len(made))
    assert [row[0].stream for row in rows] == [stream for _, _, stream in made]
    for (_, closed), (_, case, stream) in zip(rows, made, strict=True):
        check(closed, case, f"{provider}: {case['name']}" + (" (stream)" if stream else ""))
    billed = [(closed, case) for (_, closed), (_, case, _) in zip(rows, made, strict=True) if "parts" in case]
    assert sum(closed.cost_nusd for closed, _ in billed) == sum(case["bill_nusd"] for _, case in billed)


def check(closed: Closed, case: dict[str, Any], where: str) -> None:
    assert closed.price_version, f"{where}: unpriced"
    if case.get("estimated"):
        assert closed.usage.estimated, where
        assert closed.usage.input_tokens > 0, where
        return
    assert not closed.usage.estimated, where
    assert closed.cost_nusd == case["bill_nusd"], f"{where}: {closed.usage}"
    assert closed.usage.reported_cost_nusd == case.get("reported_nusd"), where
