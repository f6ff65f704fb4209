"""Calls to fill a store with."""

import json
from typing import Any

import msgspec

from trimtab.types import Attempt, Call, Closed, Opened, Usage, new_id

NOON_MS = 1_790_078_400_000
"""2026-09-22, 12:00 UTC: the samples' time, far from its day's ends."""


def sample_call(*, ms: int = NOON_MS, question: str = "When is my invoice due?", **changes: Any) -> Call:  # noqa: ANN401 - fields of two structs
    """Return a finished call with something in every field that queries look at.

    Args:
        ms: milliseconds since 1970 of its id and opening.
        question: what its user asks; the answer is "The invoice is due on Friday."
        changes: fields of `Opened` and `Closed` to set otherwise (both, where both have the field).
    """
    call_id = str(changes.get("id") or new_id(ms))
    opened = _opened(call_id, ms, question)
    closed = _closed(call_id, opened.opened_us)
    opened = msgspec.structs.replace(opened, **_those_of(opened, changes))
    closed = msgspec.structs.replace(closed, **_those_of(closed, changes))
    return Call(opened=opened, closed=closed, state=closed.state)


def _opened(call_id: str, ms: int, question: str) -> Opened:
    request = {"model": "gpt-4o", "messages": [{"role": "user", "content": question}]}
    return Opened(
        id=call_id,
        opened_us=ms * 1000 + 250,
        project="default",
        purpose="live",
        kind="chat",
        route="support",
        channel="production",
        release="rel_1",
        arm="a",
        model_asked="route/support",
        model="openai/gpt-4o",
        params_hash="9f86d081",
        stream=True,
        key="key_1",
        session="s1",
        user="ann",
        tags=("beta", "vip"),
        client="OpenAI/Python 3",
        trace_parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        parent_call="",
        replay_of="",
        payload="full",
        request=json.dumps(request, ensure_ascii=False).encode(),
        prompt_name="greeting",
        prompt_version=3,
        variables=b'{"name":"Ann"}',
    )


def _closed(call_id: str, opened_us: int) -> Closed:
    response = {"choices": [{"message": {"role": "assistant", "content": "The invoice is due on Friday."}}]}
    return Closed(
        id=call_id,
        closed_us=opened_us + 812_345,
        first_byte_us=201_000,
        state="ok",
        status=200,
        error_code="",
        error_message="",
        model="openai/gpt-4o",
        model_served="gpt-4o-2024-08-06",
        provider="openai",
        provider_response_id="chatcmpl-1",
        provider_request_id="req_1",
        fingerprint="fp_1",
        finish_reason="stop",
        attempts=(
            Attempt("openai/gpt-4o", 12, 9000, "rate_limited", 429),
            Attempt("openai/gpt-4o", 9100, 800000),
        ),
        usage=Usage(57, 27, 10, 0, 5),
        cost_nusd=24_750,
        price_version="2026-09-01",
        degraded=False,
        cache_hit=False,
        response=json.dumps(response).encode(),
        findings=({"rail": "pii", "spans": [[0, 4]]},),
    )


def unfinished(call: Call) -> Call:
    """Return a call as it stands when its process died: opened, and no more."""
    return Call(opened=call.opened, closed=None, state="unfinished")


def _those_of(struct: msgspec.Struct, changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in struct.__struct_fields__}
