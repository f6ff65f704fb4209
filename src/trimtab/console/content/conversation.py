"""What was said in a call, out of the JSON of both sides: turns of a conversation. All of it is hostile."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from trimtab.types import Call

Kind = Literal["text", "reasoning", "refusal", "image", "media", "tool_call", "tool_result", "data"]

LONGEST = 100_000
"""Characters of one part that a page shows; the raw JSON has the rest."""

MOST_TURNS = 200
"""Turns of one call that a page shows."""

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", "input"})
_PREVIEW = 160
_LARGEST_PREVIEW = 256 * 1024
"""Bytes of a request that a list still looks into for its words."""


@dataclass(frozen=True)
class Part:
    """A piece of a turn."""

    kind: Kind
    text: str
    name: str = ""
    """Of a tool, or of what stands in place of a picture."""
    cut: int = 0
    """Characters left out."""


@dataclass(frozen=True)
class Turn:
    """One message."""

    role: str
    """One of the known roles, else `other`."""
    parts: tuple[Part, ...]
    name: str = ""
    answer: bool = False
    """Whether this call's model said it."""


def request_turns(call: Call) -> list[Turn]:
    """Return what the model was given, as far as it was kept."""
    body = decode(call.opened.request)
    if not isinstance(body, dict):
        return []
    turns = [Turn("system", _parts(body[name])) for name in ("system", "instructions") if body.get(name)]
    turns += [_turn(message) for message in _dicts(body.get("messages"))]
    turns += [Turn("input", _parts(body[name])) for name in ("prompt", "input") if body.get(name)]
    return turns


def answer_turns(call: Call) -> list[Turn]:
    """Return what the model said, a turn for each choice."""
    body = decode(call.closed.response) if call.closed else None
    if not isinstance(body, dict):
        return []
    turns = []
    for choice in _dicts(body.get("choices")):
        message = choice.get("message")
        if isinstance(message, dict):
            turns.append(_turn(message, answer=True))
        elif isinstance(choice.get("text"), str):
            turns.append(Turn("assistant", (_text(choice["text"]),), answer=True))
    if not turns and "data" in body:
        count = len(body["data"]) if isinstance(body["data"], list) else 0
        turns.append(Turn("assistant", (Part("data", "", str(count)),), answer=True))
    return turns


def preview(call: Call) -> tuple[str, str]:
    """Return the last question and the answer in one line each, for lists."""
    if len(call.opened.request) > _LARGEST_PREVIEW:
        return "", ""
    asked = [turn for turn in request_turns(call) if turn.role in ("user", "input", "tool", "function")]
    return _line(asked[-1:]), _line(answer_turns(call)[:1])


def decode(raw: bytes) -> object:
    """Return a payload as JSON, None where it is no JSON (a hash, nothing, damage)."""
    if raw[:100].lstrip()[:1] not in (b"{", b"["):
        return None
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found: object = msgspec.json.decode(raw)
        return found
    with contextlib.suppress(ValueError, RecursionError):
        # Lone surrogates and stray bytes, which msgspec refuses, come from providers as they are.
        text = json.dumps(json.loads(raw.decode("utf-8", "replace")), ensure_ascii=False)
        mended: object = json.loads(text.encode("utf-8", "replace"))
        return mended
    return None


def pretty(raw: bytes) -> str:
    """Return a payload as indented JSON, as text where it is none."""
    value = decode(raw)
    if value is None:
        return raw.decode("utf-8", "replace")
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def new_turns(turns: list[Turn], before: list[Turn]) -> list[Turn]:
    """Return the turns that did not stand in the conversation before: an application sends it whole each time."""
    known = [(turn.role, turn.parts) for turn in before]
    same = 0
    for turn, (role, parts) in zip(turns, known, strict=False):
        if turn.role != role or turn.parts != parts:
            break
        same += 1
    return turns[same:]


def _turn(message: dict[str, Any], *, answer: bool = False) -> Turn:
    role = str(message.get("role", ""))
    parts: list[Part] = []
    for field in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(message.get(field), str) and message[field]:
            parts.append(_text(message[field], "reasoning"))
            break
    if role in ("tool", "function"):
        parts.append(_text(_flat(message.get("content")), "tool_result"))
    else:
        parts.extend(_parts(message.get("content")))
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        parts.append(_text(message["refusal"], "refusal"))
    parts.extend(_tool_calls(message))
    name = message.get("name") if isinstance(message.get("name"), str) else ""
    return Turn(role if role in _ROLES else "other", tuple(parts), name or "", answer)


def _tool_calls(message: dict[str, Any]) -> Iterator[Part]:
    called = _dicts(message.get("tool_calls"))
    functions = [one.get("function") for one in called] + [message.get("function_call")]
    for function in functions:
        if isinstance(function, dict):
            arguments = function.get("arguments")
            text = arguments if isinstance(arguments, str) else _json(arguments)
            part = _text(_indented(text), "tool_call")
            yield Part(part.kind, part.text, str(function.get("name", ""))[:200], part.cut)


def _parts(content: object) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (_text(content),) if content else ()
    if isinstance(content, list):
        return tuple(_part(item) for item in content[:MOST_TURNS])
    return (_text(_json(content), "data"),) if content else ()


def _part(item: object) -> Part:
    if isinstance(item, str):
        return _text(item)
    if not isinstance(item, dict):
        return _text(_json(item), "data")
    kind = str(item.get("type", ""))[:40]
    if isinstance(item.get("text"), str):
        return _text(item["text"])
    if "image" in kind:
        return Part("image", _source(item), kind)
    if "audio" in kind or "file" in kind or "video" in kind:
        return Part("media", _source(item), kind)
    return _text(_json(item), "data")


def _source(item: dict[str, Any]) -> str:
    """Return where a picture is from, in short: nothing is loaded from there."""
    value = item.get("image_url") or item.get("source") or item.get("file") or item.get("input_audio") or ""
    if isinstance(value, dict):
        value = value.get("url") or value.get("filename") or value.get("format") or ""
    text = value if isinstance(value, str) else ""
    if text.startswith("data:"):
        head, _, body = text.partition(",")
        return f"{head[:60]}, {len(body) * 3 // 4:,} B"
    return text[:120]


def _text(text: str, kind: Kind = "text") -> Part:
    return Part(kind, text[:LONGEST], cut=max(0, len(text) - LONGEST))


def _flat(content: object) -> str:
    if isinstance(content, str):
        return content
    texts = [item.get("text") for item in _dicts(content)]
    return "\n".join(text for text in texts if isinstance(text, str)) if any(texts) else _json(content)


def _line(turns: list[Turn]) -> str:
    for part in (part for turn in turns for part in turn.parts):
        if part.kind == "tool_call":
            return f"{part.name}({part.text[:_PREVIEW]})"
        if part.text:
            return " ".join(part.text[: _PREVIEW * 2].split())[:_PREVIEW]
    return ""


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value[:1000] if isinstance(item, dict)] if isinstance(value, list) else []


def _indented(text: str) -> str:
    value = decode(text[:LONGEST].encode("utf-8", "replace"))
    return text if value is None else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _json(value: object) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()
