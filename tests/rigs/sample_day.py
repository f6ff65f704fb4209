"""A day of calls as teams make them, and the objects around it: what the console is looked at with."""

import json
import math
import random
from typing import Any

import msgspec

from rigs.fake_control import FakeControl
from rigs.sample_objects import furnish
from rigs.sample_traces import CALLS, moved_into, spans_at
from trimtab.api.port import ProviderRow
from trimtab.types import (
    Actor,
    Attempt,
    Call,
    Closed,
    FeedbackGiven,
    Opened,
    Project,
    ProviderSpec,
    Usage,
    new_id,
)

NOW_US = 1_790_078_400_000_000
"""2026-09-22, 12:00 UTC."""

HOUR_US = 3_600_000_000
ROOT = Actor(name="ada", role="admin", via="console", address="127.0.0.1")

# model, share of traffic, median latency in ms, nano-USD a token in and out
MODELS = (
    ("openai/gpt-4o-mini", 46, 900, 150, 600),
    ("openai/gpt-4o", 24, 1900, 2500, 10_000),
    ("anthropic/claude-sonnet", 20, 2400, 3000, 15_000),
    ("own/smollm2-135m-instruct", 10, 5200, 0, 0),
)

TALKS = (
    (
        "billing",
        "You answer customers of a small electricity supplier. Be brief and exact.",
        "When is my invoice due, and can I pay in two parts?",
        "Your invoice is due on **Friday, 25 September**.\n\nYou can pay in two parts:\n\n1. half by Friday,\n"
        "2. the rest by 9 October.\n\nShall I set that up?",
    ),
    (
        "support",
        "あなたは丁寧なカスタマーサポート担当です。",
        "注文した商品がまだ届きません。いつ届きますか？",
        "ご不便をおかけして申し訳ございません。お荷物は現在 **大阪配送センター** にあり、明日の午前中に"
        "お届けの予定です。\n\n- 伝票番号: `4829-1173`\n- 時間帯の変更も承ります",
    ),
    (
        "code",
        "You are a senior engineer. Answer with code where that is shorter.",
        "Write a Python function that merges two sorted lists.",
        "```python\ndef merge(a: list[int], b: list[int]) -> list[int]:\n    out = []\n    i = j = 0\n"
        "    while i < len(a) and j < len(b):\n        if a[i] <= b[j]:\n            out.append(a[i]); i += 1\n"
        "        else:\n            out.append(b[j]); j += 1\n    return out + a[i:] + b[j:]\n```\n\n"
        "It is linear in `len(a) + len(b)`.",
    ),
    (
        "summary",
        "Summarise in one sentence.",
        "The committee met on Tuesday. It discussed the budget of the new library and put the decision off.",
        "The committee discussed the new library's budget on Tuesday and postponed its decision.",
    ),
)

FAULTS = (
    ("rate_limited", 429, "the provider said 429: slow down"),
    ("first_byte_timeout", 504, "no first byte within 30 s"),
    ("provider_unavailable", 503, "the provider said 503"),
)


def full_control(count: int = 900, now_us: int = NOW_US, seed: int = 7) -> FakeControl:
    """Return a control process with a day of calls, and something of every kind of object."""
    control = FakeControl(day_of_calls(count, now_us, seed), now_us=now_us)
    trace_some(control)
    objects = control.objects
    for project in (Project(name="shop", title="Web shop"), Project(name="research", payload="hash")):
        objects._projects[project.name] = project
    for row in PROVIDERS:
        objects._providers[row.name] = row
    control.machine.providers = tuple(
        ProviderSpec(name=row.name, kind=row.kind, base_url=row.base_url, models=row.models)
        for row in PROVIDERS
    )
    changes = (
        (15, "provider.rotate", "anthropic", {}),
        (9, "key.create", "web-shop", {"project": ["", "shop"]}),
        (5.5, "setting.change", "data.payload", {"value": ["none", "full"]}),
        (2.5, "config.reload", "trimtab.toml", {"generation": [6, 7]}),
        (1, "session.open", "ada", {}),
    )
    for hours, action, name, detail in changes:
        control.now_us = now_us - round(hours * HOUR_US)
        control.note(ROOT, action, name, **detail)
    control.now_us = now_us
    furnish(control)
    return control


def trace_some(control: FakeControl) -> None:
    """Put three calls of the last hour into a trace, and tell of some other traces."""
    at_us = control.now_us - 55 * 60_000_000
    records = control.records
    places = [at for at, call in enumerate(records.calls) if call.closed and call.opened.opened_us > at_us][
        :3
    ]
    for at, (span, begin_ms) in zip(places, CALLS, strict=False):
        records.calls[at] = moved_into(records.calls[at], span, at_us + begin_ms * 1000)
    records.spans = spans_at(at_us)
    short = ((1, 0, "nightly_import", 0, 84_000, "", {}), (2, 1, "fetch", 5, 61_000, "ConnectionError", {}))
    for number in range(12):
        project = ("default", "shop")[number % 3 % 2]
        began_us = at_us - number * 900_000_000
        records.spans += spans_at(began_us, short[: 1 + number % 2], f"{number + 1:032x}", project=project)


def empty_control(now_us: int = NOW_US) -> FakeControl:
    """Return a control process as it is after its first start."""
    return FakeControl([], now_us=now_us)


PROVIDERS = (
    ProviderRow(
        name="openai", kind="openai", base_url="https://api.openai.com/v1", owner="file", key_set=True,
        models=("gpt-4o", "gpt-4o-mini"), key_hint="${OPENAI_API_KEY}",
    ),
    ProviderRow(
        name="anthropic", kind="openai", base_url="https://api.anthropic.com/v1", owner="store", key_set=True,
        models=("claude-sonnet",), key_hint="…x7Qa", rotated_us=NOW_US - 15 * HOUR_US,
    ),
    ProviderRow(name="own", kind="own", base_url="", models=("smollm2-135m-instruct",), owner="file", key_set=False),
)  # fmt: skip


def day_of_calls(count: int, now_us: int = NOW_US, seed: int = 7) -> list[Call]:
    """Return calls of the last 24 hours: busy by day, one bad hour, some of everything."""
    rng = random.Random(seed)
    calls = []
    for at in range(count):
        back = sorted(rng.random() for _ in range(2))[0] if at % 3 else rng.random()
        age_us = round(back * 24 * HOUR_US)
        if math.sin((24 * back) / 24 * 2 * math.pi + 1) < rng.random() - 1.2:
            continue
        calls.append(a_call(rng, now_us - age_us - 1000, at, age_us))
    calls.extend(special_calls(rng, now_us))
    return calls


def a_call(rng: random.Random, at_us: int, number: int, age_us: int, **changes: Any) -> Call:
    """Return one call; between three and four hours ago, the provider had trouble."""
    name, _, median, price_in, price_out = rng.choices(MODELS, [model[1] for model in MODELS])[0]
    prompt, system, question, answer = rng.choices(TALKS, (4, 3, 2, 3))[0]
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}]
    turn = number % 4
    for _ in range(turn):
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": question if not turn else f"({turn}) {question}"})
    bad_hour = 3 * HOUR_US < age_us < 4 * HOUR_US and name.startswith("openai")
    fails = rng.random() < (0.35 if bad_hour else 0.012)
    latency_us = round(median * 1000 * rng.lognormvariate(0, 0.35) * (2.2 if bad_hour else 1))
    body = {"model": name, "messages": messages, "temperature": 0.2, "max_tokens": 400}
    response = answer_of(answer)
    fault = rng.choice(FAULTS) if fails else None
    return finished(
        opened_at(at_us, body, model=name, prompt=prompt, number=number),
        latency_us=latency_us, answer=response, fault=fault,
        prices=(price_in, price_out), retried=bad_hour or rng.random() < 0.04, **changes,
    )  # fmt: skip


def answer_of(text: str, **message: Any) -> dict[str, Any]:
    """Return a provider's answer."""
    said = {"role": "assistant", "content": text, **message}
    return {"id": "chatcmpl-x", "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}


def opened_at(
    at_us: int, body: dict[str, Any], *, model: str, prompt: str, number: int, **more: Any
) -> Opened:
    """Return a call's opening."""
    fields: dict[str, Any] = {
        "id": new_id(at_us // 1000), "opened_us": at_us, "purpose": "live",
        "project": ("default", "default", "shop", "research")[number % 4],
        "kind": "chat", "route": "support" if number % 3 else "", "channel": "production" if number % 3 else "",
        "release": f"rel_{abs(hash(model)) % 10**12:032d}"[:36], "arm": "",
        "model_asked": "route/support" if number % 3 else model, "model": model,
        "params_hash": "9f86d081884c7d65", "stream": bool(number % 2), "key": f"key_{number % 3 + 1}",
        "session": f"s-{number // 4 % 60:03d}" if number % 5 else "", "user": f"user-{number % 37:02d}",
        "tags": (("web",), ("mobile", "beta"), ())[number % 3], "client": "OpenAI/Python 3.2.0",
        "trace_parent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "parent_call": "",
        "replay_of": "", "payload": "full", "request": json.dumps(body, ensure_ascii=False).encode(),
        "prompt_name": prompt, "prompt_version": 3, "prompt_hash": "4be1c2", "prompt_label": "production",
        "variables": b'{"name":"Ann"}',
    }  # fmt: skip
    return Opened(**(fields | more))


def finished(
    opened: Opened, *, latency_us: int, answer: dict[str, Any], fault: tuple[str, int, str] | None = None,
    prices: tuple[int, int] = (150, 600), retried: bool = False,
) -> Call:  # fmt: skip
    """Return a call with its end."""
    tokens_in, tokens_out = len(opened.request) // 4, len(json.dumps(answer)) // 4
    usage = Usage(tokens_in, 0 if fault else tokens_out, tokens_in // 3, 0, 0)
    half = latency_us // 3
    attempts = [Attempt(opened.model, 900, latency_us - 1500)]
    if retried:
        attempts = [
            Attempt(opened.model, 900, half, "rate_limited", 429),
            Attempt(opened.model, half + 250_000, max(1000, latency_us - half - 260_000)),
        ]
    if fault:
        attempts[-1] = msgspec.structs.replace(attempts[-1], error_code=fault[0], status=fault[1])
    closed = Closed(
        id=opened.id, closed_us=opened.opened_us + latency_us, first_byte_us=0 if fault else latency_us * 2 // 5,
        state="error" if fault else "ok", status=fault[1] if fault else 200,
        error_code=fault[0] if fault else "", error_message=fault[2] if fault else "",
        model=opened.model, model_served=f"{opened.model.partition('/')[2]}-2026-08-06",
        provider=opened.model.partition("/")[0], provider_response_id="chatcmpl-8f2a", provider_request_id="req_71c0",
        fingerprint="fp_44709d6fcb", finish_reason="" if fault else "stop", attempts=tuple(attempts),
        usage=usage, cost_nusd=usage.input_tokens * prices[0] + usage.output_tokens * prices[1],
        price_version="2026-09-01" if prices[0] else "", degraded=False, cache_hit=False,
        response=b"" if fault else json.dumps(answer, ensure_ascii=False).encode(),
    )  # fmt: skip
    return Call(opened=opened, closed=closed, state=closed.state)


def special_calls(rng: random.Random, now_us: int) -> list[Call]:
    """Return calls that need a look of their own: tools, an image, feedback, hashed words, one cut short."""
    tool_talk = [
        {"role": "system", "content": "Use the tools."},
        {"role": "user", "content": [
            {"type": "text", "text": "What is the weather where this photo was taken?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function",
             "function": {"name": "get_weather", "arguments": "{\"city\": \"京都\", \"unit\": \"C\"}"}},
        ]},
        {"role": "tool", "tool_call_id": "call_1", "content": "{\"sky\": \"clear\", \"temperature\": 21}"},
    ]  # fmt: skip
    body = {
        "model": "openai/gpt-4o",
        "messages": tool_talk,
        "tools": [{"type": "function", "function": {"name": "get_weather"}}],
    }
    tools = finished(
        opened_at(now_us - 90_000_000, body, model="openai/gpt-4o", prompt="support", number=7, session="s-tools"),
        latency_us=1_640_000, answer=answer_of("The photo shows **Kyoto**; it is clear there, at 21 °C."),
        prices=(2500, 10_000), retried=True,
    )  # fmt: skip
    given = FeedbackGiven(
        id=new_id(), call_id=tools.id, at_us=now_us - 30_000_000, project=tools.opened.project, name="thumbs",
        score=1.0, value="", comment="Right city, and quick.", correction="", user="eve", key="",
    )  # fmt: skip
    tools = msgspec.structs.replace(tools, feedback=(given,))
    hidden = opened_at(now_us - 60_000_000, {}, model="openai/gpt-4o-mini", prompt="", number=3)
    hidden = msgspec.structs.replace(hidden, payload="hash", request=rng.randbytes(32), variables=b"")
    cut = opened_at(
        now_us - 45_000_000, {"messages": [{"role": "user", "content": "Cut short"}]},
        model="own/smollm2-135m-instruct", prompt="", number=2,
    )  # fmt: skip
    embed = opened_at(
        now_us - 50_000_000, {"model": "openai/text-embedding-3-small", "input": ["rivers", "河川"]},
        model="openai/text-embedding-3-small", prompt="", number=4, kind="embeddings", stream=False,
    )  # fmt: skip
    vector = {"data": [{"index": 0, "embedding": [0.1, 0.2]}], "object": "list"}
    return [
        tools,
        finished(hidden, latency_us=700_000, answer={}),
        Call(opened=cut, closed=None, state="unfinished"),
        finished(embed, latency_us=95_000, answer=vector),
    ]
