"""What a call returns, and how it is read from a reply or put together from a stream."""

from collections.abc import Mapping
from typing import Any

import msgspec

from trimtab.types import Usage

from .errors import MalformedAnswer


class ToolCall(msgspec.Struct, frozen=True):
    """One call of a tool that the model asks for."""

    id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it: it may be invalid."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A model's answer: its first choice; `raw` holds whatever else there is."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    """None: the reply named no usage."""
    finish_reason: str = ""
    call_id: str = ""
    """The call's id in the ledger: what feedback refers to."""
    model: str = ""
    """`provider/model` that answered."""
    release: str = ""
    degraded: bool = False
    """True where a fallback answered, not the model that was asked for."""
    cost_nusd: int | None = None
    """What it cost, in billionths of a US dollar; None where no price is known, and for streams."""
    raw: dict[str, Any] = {}
    """The whole reply, OpenAI's chat completion object; of a stream, put together from its chunks."""


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors of the texts given, in their order."""

    vectors: list[list[float]]
    usage: Usage | None = None
    """Of all calls together; None where one of them named none."""
    call_id: str = ""
    """Of the first call."""
    model: str = ""
    cost_nusd: int | None = None
    """Of all calls together, in billionths of a US dollar; None where a price is not known."""
    call_ids: tuple[str, ...] = ()
    """One for every chunk of texts."""


def read_usage(usage: object) -> Usage | None:
    """Return OpenAI's `usage` object as ours; None where it is none."""
    if not isinstance(usage, dict):
        return None
    inputs = _dict(usage.get("prompt_tokens_details"))
    outputs = _dict(usage.get("completion_tokens_details"))
    return Usage(
        input_tokens=_int(usage.get("prompt_tokens")),
        output_tokens=_int(usage.get("completion_tokens")),
        cached_tokens=_int(inputs.get("cached_tokens")),
        cache_write_tokens=_int(inputs.get("cache_write_tokens")),
        reasoning_tokens=_int(outputs.get("reasoning_tokens")),
        audio_input_tokens=_int(inputs.get("audio_tokens")),
        audio_output_tokens=_int(outputs.get("audio_tokens")),
    )


def read_answer(body: bytes, headers: Mapping[str, str]) -> Answer:
    """Return the answer in an unstreamed reply.

    Raises:
        MalformedAnswer: it holds no choice.
    """
    return build_answer(read_object(body, headers), headers)


def build_answer(raw: dict[str, Any], headers: Mapping[str, str]) -> Answer:
    """Return the answer in a chat completion object.

    Raises:
        MalformedAnswer: it holds no choice.
    """
    choices = raw.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise malformed("the reply has no `choices`", headers)
    message = _dict(choices[0].get("message"))
    calls = message.get("tool_calls")
    return Answer(
        text=_str(message.get("content")),
        tool_calls=tuple(_tool_call(call) for call in calls) if isinstance(calls, list) else (),
        usage=read_usage(raw.get("usage")),
        finish_reason=_str(choices[0].get("finish_reason")),
        call_id=headers.get("x-trimtab-call-id", ""),
        model=headers.get("x-trimtab-model", "") or _str(raw.get("model")),
        release=headers.get("x-trimtab-release", ""),
        degraded=headers.get("x-trimtab-degraded", "").lower() not in ("", "0", "false"),
        cost_nusd=read_cost(headers),
        raw=raw,
    )


def read_embeddings(body: bytes, headers: Mapping[str, str]) -> Embeddings:
    """Return the vectors in a reply, in the order of the texts.

    Raises:
        MalformedAnswer: it holds none.
    """
    raw = read_object(body, headers)
    try:
        rows = sorted(raw["data"], key=lambda row: row["index"])
        vectors = msgspec.convert([row["embedding"] for row in rows], list[list[float]])
    except (KeyError, TypeError, msgspec.ValidationError):
        raise malformed("the reply has no embeddings in `data`", headers) from None
    return Embeddings(
        vectors=vectors,
        usage=read_usage(raw.get("usage")),
        call_id=headers.get("x-trimtab-call-id", ""),
        model=headers.get("x-trimtab-model", "") or _str(raw.get("model")),
        cost_nusd=read_cost(headers),
        call_ids=(headers.get("x-trimtab-call-id", ""),),
    )


def read_cost(headers: Mapping[str, str]) -> int | None:
    """Return what a reply says that it cost, in nano-USD; None where it says nothing."""
    cost = headers.get("x-trimtab-cost-nusd", "")
    return int(cost) if cost.isascii() and cost.isdigit() else None


def read_object(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return a reply's JSON object.

    Raises:
        MalformedAnswer: it is none.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        start = body[:100].decode("utf-8", "replace")
        raise malformed(
            f"the reply is no JSON object: {start!r}; is `base_url` a gateway?", headers
        ) from None


def malformed(message: str, headers: Mapping[str, str]) -> MalformedAnswer:
    """Return the error for a reply that is no answer."""
    return MalformedAnswer(message, status=200, call_id=headers.get("x-trimtab-call-id", ""))


class Assembler:
    """Puts a streamed answer together from its chunks."""

    __slots__ = ("_choices", "_top")

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    @property
    def text(self) -> str:
        """The first choice's text so far."""
        return "".join(self._choices[0]["text"]) if 0 in self._choices else ""

    def add(self, chunk: dict[str, Any]) -> str:
        """Take one chunk; return the text that it adds to the first choice."""
        for key, value in chunk.items():
            if key != "choices" and value is not None:
                self._top[key] = value
        piece = ""
        for raw in chunk.get("choices") or ():
            delta = _dict(_dict(raw).get("delta"))
            index = _int(_dict(raw).get("index"))
            choice = self._choices.setdefault(index, {"text": [], "calls": {}, "finish": None})
            text = _str(delta.get("content"))
            if text:
                choice["text"].append(text)
                piece += text if index == 0 else ""
            for call in delta.get("tool_calls") or ():
                _add_call(choice["calls"], _dict(call))
            choice["finish"] = _dict(raw).get("finish_reason") or choice["finish"]
        return piece

    def completion(self) -> dict[str, Any]:
        """Return what arrived as a chat completion object."""
        choices = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": "".join(choice["text"]),
                    **({"tool_calls": list(choice["calls"].values())} if choice["calls"] else {}),
                },
                "finish_reason": choice["finish"],
            }
            for index, choice in sorted(self._choices.items())
        ]
        return {**self._top, "object": "chat.completion", "choices": choices}


def _add_call(calls: dict[int, dict[str, Any]], delta: dict[str, Any]) -> None:
    """Add a piece of a tool call; one without an index belongs to the last call begun."""
    index = delta.get("index")
    if not isinstance(index, int):
        index = len(calls) if delta.get("id") else max(len(calls) - 1, 0)
    call = calls.setdefault(index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    function = _dict(delta.get("function"))
    call["id"] = _str(delta.get("id")) or call["id"]
    call["function"]["name"] += _str(function.get("name"))
    call["function"]["arguments"] += _str(function.get("arguments"))


def _tool_call(call: object) -> ToolCall:
    function = _dict(_dict(call).get("function"))
    return ToolCall(
        id=_str(_dict(call).get("id")),
        name=_str(function.get("name")),
        arguments=_str(function.get("arguments")),
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _str(value: object) -> str:
    return value if isinstance(value, str) else ""


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
