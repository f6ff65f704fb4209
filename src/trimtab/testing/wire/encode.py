"""A scripted reply in the OpenAI dialect.

Source: platform.openai.com/docs/api-reference, objects chat.completion, chat.completion.chunk, list of
embedding, list of model; `reasoning_content` is not OpenAI's own, but what compatible servers send.
"""

import base64
import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from trimtab.testing.reply import Ask, Choice, Scripted, ToolCall, message_text, split_tokens
from trimtab.types import (
    CONTENT_EVENTS,
    Completion,
    ContentDelta,
    Done,
    Event,
    Finish,
    Frame,
    ReasoningDelta,
    RefusalDelta,
    Started,
    ToolCallDelta,
    Usage,
    UsageReport,
)

CREATED = 1_735_689_600
"""Every reply's `created` (2025-01-01 UTC): the same script gives the same bytes."""

EMBEDDING_DIMENSIONS = 256
"""Length of a vector where the request names none."""

Delta = tuple[dict[str, Any], str, dict[str, Any] | None, tuple[Event, ...]]
"""One chunk's delta, finish reason (or empty), logprobs (or None), and what they say."""


def response_id(ask: Ask, reply: Scripted) -> str:
    """Return the id that the answer carries."""
    return reply.response_id or f"chatcmpl-fake-{ask.number}"


def served_model(ask: Ask, reply: Scripted) -> str:
    """Return the model that the answer claims to be from."""
    return reply.model or ask.model


def count_usage(ask: Ask, reply: Scripted) -> Usage:
    """Return the scripted usage, or the fake's own count of request and answer."""
    if reply.usage is not None:
        return reply.usage
    if ask.kind == "embeddings":
        return Usage(input_tokens=sum(len(split_tokens(str(item))) for item in embedding_inputs(ask)))
    reasoning = sum(len(split_tokens(c.whole_reasoning())) for c in reply.choices())
    spoken = sum(
        len(split_tokens(c.whole_text() + c.refusal + "".join(t.name + t.arguments for t in c.tool_calls)))
        for c in reply.choices()
    )
    asked = sum(len(split_tokens(message_text(m))) for m in ask.messages())
    return Usage(input_tokens=asked, output_tokens=spoken + reasoning, reasoning_tokens=reasoning)


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's `usage` object for chat."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "audio_tokens": usage.audio_input_tokens,
            **({"cache_write_tokens": usage.cache_write_tokens} if usage.cache_write_tokens else {}),
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def completion(ask: Ask, reply: Scripted) -> Completion:
    """Return the whole, unstreamed answer to a chat or embeddings request."""
    if ask.kind == "embeddings":
        return _embeddings(ask, reply)
    usage = count_usage(ask, reply) if reply.report_usage else None
    body: dict[str, Any] = {
        "id": response_id(ask, reply),
        "object": "chat.completion",
        "created": CREATED,
        "model": served_model(ask, reply),
        "choices": [_whole_choice(ask, n, c) for n, c in enumerate(reply.choices())],
        **({"usage": usage_json(usage)} if usage else {}),
        "service_tier": "default",
        "system_fingerprint": reply.fingerprint,
    }
    return Completion(
        body=msgspec.json.encode(body) if reply.body is None else reply.body,
        response_id=body["id"],
        model=body["model"],
        fingerprint=reply.fingerprint,
        finish_reason=reply.finish(),
        usage=usage,
        text="" if usage else reply.whole_text(),
    )


def stream_frames(ask: Ask, reply: Scripted, *, include_usage: bool) -> list[Frame]:
    """Return the streamed answer: each frame's bytes and what they say.

    The role comes first, then content, then the finish reason, for each choice; the choices take turns.
    Then one chunk with usage and no choices, if it is asked for, and `data: [DONE]`.
    """
    told = include_usage and reply.report_usage
    shell: dict[str, Any] = {
        "id": response_id(ask, reply),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": served_model(ask, reply),
        "service_tier": "default",
        "system_fingerprint": reply.fingerprint,
    }
    rest: dict[str, Any] = {"usage": None} if told else {}
    started: Event = Started(shell["id"], shell["model"], reply.fingerprint, CREATED)
    frames: list[Frame] = []
    turns = zip_longest(*(_deltas(ask, n, c, reply.chunk_chars) for n, c in enumerate(reply.choices())))
    for number, (delta, reason, logprobs, events) in _numbered(turns):
        choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": reason or None}
        raw = sse(msgspec.json.encode({**shell, "choices": [choice], **rest}))
        frames.append(Frame(raw, events if frames else (started, *events)))
    if told:
        usage = count_usage(ask, reply)
        raw = sse(msgspec.json.encode({**shell, "choices": [], "usage": usage_json(usage)}))
        frames.append(Frame(raw, (UsageReport(usage),), usage_only=True))
    frames.append(Frame(sse(b"[DONE]"), (Done(),)))
    return frames


def sse(data: bytes) -> bytes:
    """Return one server-sent event (html.spec.whatwg.org, section 9.2)."""
    return b"data: " + data + b"\n\n"


def error_json(status: int, error: str | dict[str, Any] | None) -> bytes:
    """Return an OpenAI-shaped error body; a dict is taken as the whole body."""
    if isinstance(error, dict):
        return msgspec.json.encode(error)
    kind, code, message = _ERRORS.get(status, ("server_error", None, "The server had an error."))
    said = message if error is None else error
    return msgspec.json.encode({"error": {"message": said, "type": kind, "param": None, "code": code}})


_ERRORS: dict[int, tuple[str, str | None, str]] = {
    302: ("server_error", None, "Moved."),
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", None, "This key may not do this."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    405: ("invalid_request_error", None, "Not allowed to use this method here."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
    529: ("overloaded_error", None, "Overloaded."),
}


def _numbered(turns: Iterator[tuple[Delta | None, ...]]) -> Iterator[tuple[int, Delta]]:
    for turn in turns:
        for number, delta in enumerate(turn):
            if delta is not None:
                yield number, delta


def _deltas(ask: Ask, number: int, choice: Choice, chunk_chars: int) -> Iterator[Delta]:
    yield {"role": "assistant", "content": "", "refusal": None}, "", None, ()
    for piece in _pieces(choice.reasoning, chunk_chars):
        yield {"reasoning_content": piece}, "", None, (ReasoningDelta(piece, number),)
    for text, scored in _text_pieces(choice, chunk_chars):
        logprobs = _logprobs(ask, scored, explicit=bool(choice.logprobs))
        raw = None if logprobs is None else msgspec.Raw(msgspec.json.encode(logprobs))
        yield {"content": text}, "", logprobs, (ContentDelta(text, number, raw),)
    for piece in _pieces(choice.refusal, chunk_chars):
        yield {"refusal": piece}, "", None, (RefusalDelta(piece, number),)
    for index, call in enumerate(choice.tool_calls):
        yield from _tool_deltas(number, index, call)
    yield {}, choice.finish(), None, (Finish(choice.finish(), number),)


def _tool_deltas(number: int, index: int, call: ToolCall) -> Iterator[Delta]:
    named = {"name": call.name, "arguments": ""}
    call_id = _call_id(call, number, index)
    first = {"index": index, "id": call_id, "type": "function", "function": named}
    yield {"tool_calls": [first]}, "", None, (ToolCallDelta(index, call_id, call.name, "", number),)
    for piece in split_tokens(call.arguments):
        more = {"index": index, "function": {"arguments": piece}}
        yield {"tool_calls": [more]}, "", None, (ToolCallDelta(index, None, None, piece, number),)


def _call_id(call: ToolCall, number: int, index: int) -> str:
    return call.id or f"call_fake_{number}_{index}"


def _pieces(text: str | Sequence[str], chunk_chars: int) -> list[str]:
    if not isinstance(text, str):
        return list(text)
    if chunk_chars:
        return [text[at : at + chunk_chars] for at in range(0, len(text), chunk_chars)]
    return split_tokens(text)


def _text_pieces(choice: Choice, chunk_chars: int) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Yield each piece of text with its scored tokens."""
    if choice.logprobs:
        yield from ((token, [(token, logprob)]) for token, logprob in choice.logprobs)
        return
    for piece in _pieces(choice.text, chunk_chars):
        yield piece, _scored(piece)


def _scored(text: str) -> list[tuple[str, float]]:
    return [(token, _made_up_logprob(token)) for token in split_tokens(text)]


def _made_up_logprob(token: str) -> float:
    share = (hashlib.blake2b(token.encode(errors="replace"), digest_size=1).digest()[0] + 128) / 384
    return round(math.log(share), 6)


def _logprobs(ask: Ask, scored: list[tuple[str, float]], *, explicit: bool) -> dict[str, Any] | None:
    if not (explicit or ask.body.get("logprobs")):
        return None
    top = ask.body.get("top_logprobs")
    count = top if isinstance(top, int) else 0
    return {
        "content": [_token(t, lp) | {"top_logprobs": _alternatives(t, lp, count)} for t, lp in scored],
        "refusal": None,
    }


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode(errors="replace"))}


def _alternatives(token: str, logprob: float, count: int) -> list[dict[str, Any]]:
    """Return the token itself and made-up ones that halve in probability."""
    return [_token(token + "~" * rank, round(logprob - rank * math.log(2), 6)) for rank in range(count)]


def _whole_choice(ask: Ask, number: int, choice: Choice) -> dict[str, Any]:
    text = choice.whole_text()
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if not text and (choice.tool_calls or choice.refusal) else text,
        "refusal": choice.refusal or None,
        "annotations": [],
    }
    if choice.reasoning:
        message["reasoning_content"] = choice.whole_reasoning()
    if choice.tool_calls:
        message["tool_calls"] = [
            {
                "id": _call_id(call, number, index),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(choice.tool_calls)
        ]
    scored = list(choice.logprobs) or _scored(text)
    logprobs = _logprobs(ask, scored, explicit=bool(choice.logprobs))
    return {"index": number, "message": message, "logprobs": logprobs, "finish_reason": choice.finish()}


def _embeddings(ask: Ask, reply: Scripted) -> Completion:
    wanted = ask.body.get("dimensions")
    size = wanted if isinstance(wanted, int) and wanted > 0 else EMBEDDING_DIMENSIONS
    vectors = reply.embeddings or [unit_vector(item, size) for item in embedding_inputs(ask)]
    pack = _pack if ask.body.get("encoding_format") == "base64" else list
    usage = count_usage(ask, reply)
    body: dict[str, Any] = {
        "object": "list",
        "data": [{"object": "embedding", "index": n, "embedding": pack(v)} for n, v in enumerate(vectors)],
        "model": served_model(ask, reply),
    }
    if reply.report_usage:
        body["usage"] = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return Completion(
        body=msgspec.json.encode(body) if reply.body is None else reply.body,
        model=body["model"],
        usage=usage if reply.report_usage else None,
        text="",
    )


def embedding_inputs(ask: Ask) -> list[Any]:
    """Return the inputs of an embeddings request: texts, or lists of token numbers."""
    given = ask.body.get("input")
    if not isinstance(given, list):
        return [given]
    return [given] if given and all(isinstance(item, int) for item in given) else given


def unit_vector(item: object, size: int) -> list[float]:
    """Return a vector of length 1, shape `(size,)`, that only the item decides; entries are exact float32.

    >>> unit_vector("a", 3) == unit_vector("a", 3) != unit_vector("b", 3)
    True
    """
    noise = hashlib.shake_256(msgspec.json.encode(item)).digest(4 * size)
    raw = [number / 2**31 - 1 for number in struct.unpack(f"<{size}I", noise)]
    norm = math.sqrt(sum(x * x for x in raw))
    return list(struct.unpack(f"<{size}f", struct.pack(f"<{size}f", *(x / norm for x in raw))))


def _pack(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def models_json(models: Sequence[str]) -> bytes:
    """Return the list of models."""
    data = [{"id": m, "object": "model", "created": CREATED, "owned_by": "trimtab-fake"} for m in models]
    return msgspec.json.encode({"object": "list", "data": data})


def first_content(frames: Sequence[Frame]) -> int:
    """Return the index of the first frame with content; of the first without the role where there is none."""
    for index, frame in enumerate(frames):
        if any(isinstance(event, CONTENT_EVENTS) for event in frame.events):
            return index
    return min(1, len(frames) - 1)
