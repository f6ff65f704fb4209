"""From an HTTP request to the steps of its reply: the fake's endpoints."""

from collections.abc import Sequence
from typing import Any

import msgspec

from trimtab.testing.reply import Ask, Scripted
from trimtab.types import CallKind

from .connection import Incoming
from .encode import completion, error_json, first_content, models_json, stream_frames
from .plan import WireReply

KINDS: dict[str, CallKind] = {"/v1/chat/completions": "chat", "/v1/embeddings": "embeddings"}
MODELS_PATH = "/v1/models"


def read_ask(request: Incoming, number: int) -> Ask | WireReply:
    """Return what a request asks for, or the error reply that it deserves."""
    path = request.path.partition("?")[0]
    kind = KINDS.get(path)
    if kind is None:
        return refusal(number, 404, f"Invalid URL ({request.method} {request.path})")
    if request.method != "POST":
        return refusal(number, 405)
    try:
        body = msgspec.json.decode(request.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        return refusal(number, 400, f"We could not parse the JSON body of your request: {e}")
    return Ask(kind=kind, body=body, number=number, headers=request.headers)


def scripted_reply(ask: Ask, reply: Scripted) -> WireReply:
    """Return a scripted reply as HTTP."""
    streamed = ask.stream and ask.kind == "chat" and reply.status < 300
    if streamed and reply.body is None:
        frames = stream_frames(ask, reply, include_usage=ask.include_usage)
        parts, first = tuple(frame.raw for frame in frames), first_content(frames)
    elif reply.body is not None:
        parts, first = (reply.body,), 0
    else:
        failed = reply.status >= 300
        parts, first = (error_json(reply.status, reply.error) if failed else completion(ask, reply).body,), 0
    kind = "text/event-stream; charset=utf-8" if streamed else "application/json"
    own = {name.lower() for name in reply.headers}
    common = [(name, value) for name, value in _common(ask.number, kind) if name not in own]
    return WireReply(
        status=reply.status,
        headers=(*common, *reply.headers.items()),
        parts=parts,
        first_content=first,
        stream=streamed,
        pace=reply.pace,
    )


def models_reply(number: int, models: Sequence[str]) -> WireReply:
    """Return the list of models as HTTP."""
    return WireReply(headers=_common(number, "application/json"), parts=(models_json(models),))


def refusal(number: int, status: int, message: str | None = None) -> WireReply:
    """Return an error reply as HTTP."""
    body = error_json(status, message)
    return WireReply(status=status, headers=_common(number, "application/json"), parts=(body,))


def _common(number: int, content_type: str) -> tuple[tuple[str, str], ...]:
    return (("content-type", content_type), ("x-request-id", f"req_fake_{number}"))
