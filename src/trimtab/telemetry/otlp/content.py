"""The words of a call in the shape of the GenAI conventions: messages made of parts.

Shape: gen-ai-input-messages.json and gen-ai-output-messages.json of open-telemetry/semantic-conventions-genai, as a
JSON text, which is how attributes of spans carry them. Only what the payload policy kept whole (`full`, `masked`)
is there to be passed on.
"""

from contextlib import suppress
from typing import Any

import msgspec

from trimtab.types import Call

_KEPT = ("full", "masked")


def words_of(call: Call) -> tuple[str, str]:
    """Return (input messages, output messages) as JSON texts; empty where they were not kept."""
    if call.opened.payload not in _KEPT:
        return "", ""
    asked = _decoded(call.opened.request)
    answered = _decoded(call.closed.response) if call.closed else {}
    return _text(_input(asked)), _text(_output(answered))


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(messages: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(messages).decode() if messages else ""


def _input(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if isinstance(messages, list):
        return [_message(message) for message in messages if isinstance(message, dict)]
    given = body.get("input")
    if given is None:
        return []
    texts = given if isinstance(given, list) else [given]
    return [{"role": "user", "parts": [_text_part(text) for text in texts]}]


def _output(body: dict[str, Any]) -> list[dict[str, Any]]:
    choices = body.get("choices")
    if not isinstance(choices, list):
        return []
    found = []
    for choice in choices:
        if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
            reason = str(choice.get("finish_reason") or "")
            found.append(_message(choice["message"]) | {"finish_reason": reason})
    return found


def _message(message: dict[str, Any]) -> dict[str, Any]:
    role = str(message.get("role", "assistant"))
    content = message.get("content")
    if role == "tool":
        answer = {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}
        return {"role": role, "parts": [answer]}
    pieces = content if isinstance(content, list) else [] if content is None else [content]
    parts = [_part(piece) for piece in pieces]
    calls = message.get("tool_calls")
    parts += [_tool_call(call) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return {"role": role, "parts": parts}


def _part(piece: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    if isinstance(piece, dict) and piece.get("type") == "text":
        return _text_part(piece.get("text", ""))
    # Parts of other kinds keep their own shape: the conventions allow any with a `type`.
    return piece if isinstance(piece, dict) and "type" in piece else _text_part(piece)


def _text_part(text: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"type": "text", "content": text if isinstance(text, str) else msgspec.json.encode(text).decode()}


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    named = function if isinstance(function, dict) else {}
    arguments = named.get("arguments")
    with suppress(msgspec.DecodeError, UnicodeError):  # a model may write what is no JSON
        arguments = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    return {"type": "tool_call", "id": call.get("id"), "name": named.get("name"), "arguments": arguments}
