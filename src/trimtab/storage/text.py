"""What of a call can be searched: the words people and models wrote, out of the request's and answer's JSON."""

import json
from typing import Any

import msgspec

TEXT_LIMIT = 500_000
"""Characters of one call that are indexed; what stands behind them is stored, but not found by its words."""

# In the order in which they are read. What is not named here (tool definitions, images, token ids, vectors) is not
# words. OpenAI chat, embeddings and legacy completions (platform.openai.com/docs/api-reference), and the names that
# OpenAI-compatible servers use for reasoning.
_KEYS = (
    "system",
    "instructions",
    "messages",
    "input",
    "prompt",
    "choices",
    "output",
    "error",
    "message",
    "reasoning",
    "reasoning_content",
    "thinking",
    "summary",
    "content",
    "text",
    "refusal",
    "tool_calls",
    "function_call",
    "function",
    "name",
    "arguments",
)


def call_text(request: bytes, response: bytes) -> list[str]:
    """Return the texts of a call, piece by piece, in reading order.

    A payload that is no JSON object (a hash, nothing, damage) has none: what policy hides is never searchable.
    """
    pieces: list[str] = []
    for raw in (request, response):
        if raw[:1] in (b"{", b"["):
            _collect(_decode(raw), pieces)
    return _limited(pieces)


def _decode(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        # Lone surrogates and stray bytes, which msgspec refuses, come from providers as they are.
        text = json.dumps(json.loads(raw.decode("utf-8", "replace")), ensure_ascii=False)
        return msgspec.json.decode(text.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _collect(root: Any, pieces: list[str]) -> None:
    """Append the texts below `root`; with a stack of our own, since a hostile body nests deeply."""
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            if node:
                pieces.append(node)
        elif isinstance(node, list):
            stack.extend(reversed(node))
        elif isinstance(node, dict):
            found = [_unescaped(node[key]) if key == "arguments" else node[key] for key in _KEYS if key in node]
            stack.extend(reversed(found))


def _unescaped(arguments: Any) -> Any:
    r"""Return a tool call's arguments, JSON within JSON, so that a \u6771 in them is found as what it means."""
    if not isinstance(arguments, str) or "\\" not in arguments:
        return arguments
    try:
        return json.dumps(json.loads(arguments), ensure_ascii=False).encode("utf-8", "replace").decode()
    except (ValueError, RecursionError):
        return arguments


def _limited(pieces: list[str]) -> list[str]:
    room = TEXT_LIMIT
    for i, piece in enumerate(pieces):
        room -= len(piece)
        if room < 0:
            return [*pieces[:i], piece[:room]]
    return pieces
