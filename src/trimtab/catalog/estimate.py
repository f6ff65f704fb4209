"""How many tokens a text has, where no provider said: an estimate from its characters.

The rule, by runs of characters (constants fitted to OpenAI's o200k and Mistral's Tekken vocabularies; the
errors measured stand in docs/how-to/prices.md):

- a word of Latin letters is 1 token, and 1 more for every 4 letters past the first 5 if it has more than 8; a
  capital after a small letter starts a new word;
- digits and marks of punctuation are 1 token for every 2 in a run;
- a line break with its indentation is 1 token, as is any other run of white space; a single space none;
- a character is 0.73 tokens where Chinese or kana, 0.65 where Hangul, 0.3 in other scripts, 0.65 in long runs
  of letters and digits without a break (base64, hashes).

Whoever uses such a figure flags it as estimated: it is no bill.
"""

import re
from typing import Any

import msgspec

SAMPLE_CHARS = 4096
"""Length of each of the slices that a long text is judged by."""

SAMPLES = 4

IMAGE_TOKENS = 800
"""One picture of usual size: OpenAI bills 765 for 1024 x 1024 at high detail, 85 at low."""

AUDIO_CHARS_PER_TOKEN = 1000
"""Base64 characters of recorded sound for one token: speech at 64 kbit/s and 10 tokens a second."""

MESSAGE_TOKENS = 4
"""What a message costs besides its words: role and separators."""

_RUNS = re.compile(
    r"(?P<blob>[A-Za-z0-9+]{32,})"
    r"|(?P<latin>[A-ZÀ-ÖØ-Þ]*[a-zß-öø-ÿ]+|[A-ZÀ-ÖØ-Þ]+|[Ā-ɏ]+)"
    r"|(?P<digit>[0-9]+)"
    r"|(?P<break>\s{2,}|[\r\n])"
    r"|(?P<han>[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+)"
    r"|(?P<hangul>[\u1100-\u11ff\uac00-\ud7af]+)"
    r"|(?P<letter>(?:[^\W\d_]|[\u0300-\u036f\u0590-\u109f])+)"
    r"|(?P<mark>[^\w\s]+|_+)"
)

_PER_CHAR = {"blob": 0.65, "han": 0.73, "hangul": 0.65, "letter": 0.3}

_PICTURES = frozenset({"image_url", "file_data", "image"})

_UNSEEN = frozenset({"role", "type", "model", "id", "tool_call_id", "user", "metadata", "index"})
"""Fields whose values the model does not read as text."""

_READ = frozenset({"messages", "input", "prompt", "tools", "functions", "response_format"})
"""Fields of a request body that reach the model; the others steer."""

_SEEN_BY_VALUE = _READ | {"content", "text", "name", "tool_calls", "function"}
"""Fields that are read for what stands in them, not for their names."""


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has; 0 only for no text.

    A text over 16,384 characters is judged by four slices of it, so the cost is bounded: a few
    milliseconds.

    >>> estimate_tokens("What is the capital of France?")
    7
    """
    if not text:
        return 0
    if len(text) <= SAMPLES * SAMPLE_CHARS:
        return max(1, round(_weigh(text)))
    step = (len(text) - SAMPLE_CHARS) // (SAMPLES - 1)
    weight = sum(_weigh(text[i * step : i * step + SAMPLE_CHARS]) for i in range(SAMPLES))
    return max(1, round(weight * len(text) / (SAMPLES * SAMPLE_CHARS)))


def estimate_request_tokens(messages_json: bytes) -> int:
    """Return about how many input tokens a request has.

    Args:
        messages_json: JSON of a message list, an `input`, or a whole request body; whatever is no JSON counts
            as text.

    >>> estimate_request_tokens(b'[{"role": "user", "content": "What is the capital of France?"}]')
    11
    """
    try:
        root = msgspec.json.decode(messages_json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return estimate_tokens(bytes(messages_json).decode("utf-8", "replace"))
    if isinstance(root, dict) and not _READ.isdisjoint(root):
        root = {field: root[field] for field in _READ if field in root}
    words: list[str] = []
    total = 0
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, str):
            words.append(node)
        elif isinstance(node, list):
            todo.extend(node)
        elif isinstance(node, dict):
            total += _open_object(node, words, todo)
        elif isinstance(node, int):
            total += 1  # `input` may be given as token numbers
    return total + estimate_tokens("\n".join(words))


def _open_object(node: dict[str, Any], words: list[str], todo: list[Any]) -> int:
    """Add an object's words and parts to the lists; return what else it costs."""
    cost = MESSAGE_TOKENS if "role" in node else 0
    for key, value in node.items():
        if key in _PICTURES:
            cost += IMAGE_TOKENS
        elif key == "input_audio":
            data = value.get("data") if isinstance(value, dict) else None
            cost += len(data) // AUDIO_CHARS_PER_TOKEN if isinstance(data, str) else 0
        elif key not in _UNSEEN:
            if key not in _SEEN_BY_VALUE:
                words.append(key)  # names in a tool's schema are part of the prompt
            if isinstance(value, str | list | dict):
                todo.append(value)
    return cost


def _weigh(text: str) -> float:
    total = 0.0
    for run in _RUNS.finditer(text):
        kind = run.lastgroup or ""
        length = run.end() - run.start()
        if kind == "latin":
            total += 1 if length <= 8 else 1 + (length - 5) // 4
        elif kind in ("digit", "mark"):
            total += (length + 1) // 2
        elif kind == "break":
            total += 1
        else:
            total += length * _PER_CHAR[kind]
    return total
