"""What a call sends: paths and JSON bodies, in OpenAI's shapes, and when it is sent again."""

import os
import random
from collections.abc import Sequence
from typing import Any, TypedDict
from urllib.parse import urlsplit

import msgspec

from trimtab.types import RetryPolicy, id_time_us

from .answer import Answer, Embeddings
from .errors import ApiError, may_repeat

DEFAULT_BASE_URL = "http://127.0.0.1:8400/v1"

Prompt = str | Sequence[dict[str, Any]]
"""A user's words, or a list of OpenAI chat messages."""


class FeedbackFields(TypedDict, total=False):
    """What feedback can say besides a score and a comment."""

    name: str
    """What is judged: `thumbs`, `correct`, ..."""
    value: str
    correction: str
    user: str


def find_base_url(given: str | None) -> str:
    """Return the address to call: the one given, else TRIMTAB_BASE_URL's, else this machine's gateway.

    Raises:
        ValueError: it is no HTTP address.
    """
    url = (given or os.environ.get("TRIMTAB_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url {url!r} must be an http or https address, such as {DEFAULT_BASE_URL}")
    return url if parts.path else f"{url}/v1"


def find_api_key(given: str | None) -> str:
    """Return the key to send: the one given, else TRIMTAB_API_KEY's; empty for none.

    Raises:
        ValueError: no header can carry it.
    """
    key = os.environ.get("TRIMTAB_API_KEY", "") if given is None else given
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key holds characters that no HTTP header can carry; copy it again")
    return key


def chat_body(prompt: Prompt, system: str, params: dict[str, object], *, stream: bool) -> bytes:
    """Return the body of a chat call; parameters go as they are."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    body = {**params, "messages": messages}
    if stream:
        # Usage is part of an answer; without this a stream carries none.
        body = {"stream_options": {"include_usage": True}, **body, "stream": True}
    return encode(body)


def feedback_body(call: Answer | Embeddings | str, fields: dict[str, Any]) -> bytes:
    """Return the body of feedback on a call, however it is named.

    Raises:
        ValueError: the answer names no call.
    """
    if isinstance(call, str):
        call_id, response_id = (call, "") if _is_call_id(call) else ("", call)
    else:
        call_id = call.call_id
        response_id = "" if call_id or isinstance(call, Embeddings) else str(call.raw.get("id") or "")
    if not (call_id or response_id):
        raise ValueError("this names no call; give an Answer, its `call_id`, or the provider's response id")
    return encode({"call_id": call_id or None, "response_id": response_id or None, **fields})


def _is_call_id(text: str) -> bool:
    try:
        id_time_us(text)
    except ValueError:
        return False
    return True


def encode(body: dict[str, Any]) -> bytes:
    """Return a body without the fields that are None or an empty model.

    Raises:
        TypeError: a value has no JSON form.
    """
    return msgspec.json.encode(
        {k: v for k, v in body.items() if v is not None and not (k == "model" and v == "")}
    )


def pause_s(error: ApiError, tries: int, retry: RetryPolicy, *, idempotent: bool) -> float | None:
    """Return how long to wait before sending again, in seconds; None: give up.

    Args:
        error: what the last try ended in.
        tries: how many there were.
        retry: the policy; the pause doubles each time, with full jitter, unless the gateway names one.
        idempotent: whether doing it twice is the same as doing it once.
    """
    if tries >= retry.attempts or not may_repeat(error, idempotent=idempotent):
        return None
    if error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= retry.retry_after_max_s else None
    ceiling = min(retry.backoff_s * 2 ** (tries - 1), retry.backoff_max_s)
    return random.uniform(0, ceiling)  # noqa: S311 - spreads retries; nothing secret hangs on it
