"""What of a call can be searched: the words that people and models wrote, out of the JSON of both sides."""

import contextlib
import json
from collections.abc import Iterator

import msgspec

TEXT_LIMIT = 500_000
"""Characters of one call that are indexed; what stands behind them is stored, but not found by its words."""

# In the order in which they are read; what is not named here (tool definitions, images, token ids, vectors)
# is no words. From OpenAI's API (platform.openai.com/docs/api-reference: chat, embeddings, completions), and
# from what OpenAI-compatible servers call reasoning.
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

    A payload that is no JSON (a hash, nothing, damage) has none: what policy hides is never searchable.
    """
    pieces: list[str] = []
    for raw in (request, response):
        if raw[:100].lstrip()[:1] in (b"{", b"["):
            _collect(_decode(raw), pieces)
    return _limited(pieces)


def _decode(raw: bytes) -> object:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found: object = msgspec.json.decode(raw)
        return found
    with contextlib.suppress(ValueError, RecursionError):
        # Lone surrogates and stray bytes, which msgspec refuses, come from providers as they are.
        return _mended(json.loads(raw.decode("utf-8", "replace")))
    return None


def _mended(value: object) -> object:
    """Return a JSON value with every lone surrogate replaced, which no index could store."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    mended: object = json.loads(text)
    return mended


def _collect(root: object, pieces: list[str]) -> None:
    """Append the texts below `root`; with a stack of our own, since a hostile body nests deeply."""
    stack: list[object] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            if node:
                pieces.append(node)
        elif isinstance(node, list):
            stack.extend(reversed(node))
        elif isinstance(node, dict):
            found = [
                _unescaped(node[key]) if key == "arguments" else node[key] for key in _KEYS if key in node
            ]
            stack.extend(reversed(found))


def _unescaped(arguments: object) -> object:
    r"""Return a tool call's arguments, JSON within JSON, such that neither \n nor \u6771 blurs its words."""
    if not isinstance(arguments, str) or "\\" not in arguments:
        return arguments
    try:
        return " ".join(_leaves(_mended(json.loads(arguments))))
    except (ValueError, RecursionError):
        return arguments


def _leaves(root: object) -> Iterator[str]:
    """Yield the keys and values of a JSON value, in order."""
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            stack.extend(part for item in reversed(node.items()) for part in reversed(item))
        elif isinstance(node, list):
            stack.extend(reversed(node))
        else:
            yield node if isinstance(node, str) else json.dumps(node)


def _limited(pieces: list[str]) -> list[str]:
    room = TEXT_LIMIT
    for i, piece in enumerate(pieces):
        room -= len(piece)
        if room < 0:
            return [*pieces[:i], piece[:room]]
    return pieces
