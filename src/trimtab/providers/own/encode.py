"""A caller's request in the words the own model's runtime takes."""

from typing import Any

import msgspec

from trimtab.types import Request

from .endpoint import Endpoint
from .refuse import refused
from .schema import JSON_OBJECT, grammar

DEFAULT_MAX_TOKENS = 512
"""Where the caller names no limit: a small model that begins to repeat itself does not stop by itself."""
SYSTEM_PROMPT = "You are a helpful assistant. Give a short, correct answer."
"""The wording that got most simple questions right (docs/adr/0004-own-model.md); the file's own gets few."""
JSON_PROMPT = "You are a helpful assistant. Answer in JSON."
"""Its counterpart where an output schema is set."""

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")
_LEFT_OUT = ("tools", "tool_choice", "parallel_tool_calls")
_NULL = msgspec.Raw(b"null")
_decode = msgspec.json.decode
_encode = msgspec.json.encode


def encode(request: Request, endpoint: Endpoint) -> tuple[Request, bool]:
    """Return the request as the runtime takes it, and whether the answer must be JSON.

    Raises:
        ProviderRejected: the request asks for what the own model cannot do.
    """
    body = {name: value for name, value in request.body.items() if bytes(value) != b"null"}
    _refuse_what_we_lack(body)
    if not endpoint.tools:
        _leave_out_tools(body)
    wants_json = _constrain(body)
    prompt = endpoint.system_prompt and (JSON_PROMPT if wants_json else endpoint.system_prompt)
    body["messages"] = _raw(_messages(body.get("messages", _NULL), prompt))
    body["model"] = _raw(endpoint.model)
    if not any(name in body for name in _LIMITS):
        body["max_tokens"] = _raw(DEFAULT_MAX_TOKENS)
    if _value(body, "logprobs") is True and not _value(body, "top_logprobs"):
        # The runtime reads 0 as "no log-probabilities", and an absent figure as 20 alternatives.
        body["top_logprobs"] = _raw(1)
    # A stop sequence may cut JSON short, and that is then what the caller asked for.
    return msgspec.structs.replace(
        request, model=endpoint.model, body=body
    ), wants_json and "stop" not in body


def _refuse_what_we_lack(body: dict[str, msgspec.Raw]) -> None:
    if "functions" in body or "function_call" in body:
        raise refused(
            "the own model knows neither functions nor function_call; send tools, or use response_format",
            param="functions",
        )
    if "audio" in body or b'"audio"' in bytes(body.get("modalities", b"")):
        raise refused("the own model answers in text only; leave out audio", param="modalities")


def _leave_out_tools(body: dict[str, msgspec.Raw]) -> None:
    """The model's template has no place for tools, and the runtime would drop them without a word.

    With `auto` an answer in text is a right answer; a call that is required cannot be promised.
    """
    choice = _value(body, "tool_choice")
    if choice not in (None, "auto", "none") and "tools" in body:
        raise refused(
            f"tool_choice is {choice!r:.80}, and the own model cannot call tools: send response_format "
            "with a JSON schema instead, or serve a model that knows tools with --model-path",
            param="tool_choice",
        )
    for name in _LEFT_OUT:
        body.pop(name, None)


def _constrain(body: dict[str, msgspec.Raw]) -> bool:
    """Put the runtime's grammar in the place of `response_format`."""
    if "response_format" not in body:
        return False
    wanted = _value(body, "response_format")
    if not isinstance(wanted, dict):
        raise refused("response_format must be an object with a type", param="response_format")
    kind = wanted.get("type")
    if kind == "text":
        del body["response_format"]
        return False
    if kind == "json_object":
        schema: Any = wanted.get("schema") or JSON_OBJECT
    elif kind == "json_schema":
        named = wanted.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if schema is None:
            raise refused(
                "response_format has no json_schema.schema; put the schema there", param="response_format"
            )
    else:
        raise refused(
            f"response_format has type {kind!r:.40}; it is one of text, json_object, json_schema",
            param="response_format",
        )
    if "tools" in body:
        return False  # the runtime itself joins the two grammars where the model's template knows tools
    body["grammar"] = _raw(grammar(schema))
    del body["response_format"]
    return True


def _messages(raw: msgspec.Raw, system_prompt: str) -> list[dict[str, Any]]:
    messages = _load(raw, "messages")
    if not isinstance(messages, list) or not messages:
        raise refused("messages must be a list with at least one message", param="messages")
    encoded = [_message(message, index) for index, message in enumerate(messages)]
    if system_prompt and not any(message["role"] == "system" for message in encoded):
        encoded.insert(0, {"role": "system", "content": system_prompt})
    return encoded


def _message(message: object, index: int) -> dict[str, Any]:
    where = f"messages[{index}]"
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        role = message.get("role") if isinstance(message, dict) else message
        raise refused(
            f"{where} has role {role!r:.40}; a role is one of {', '.join(_ROLES)}",
            param=f"{where}.role",
        )
    encoded = dict(message)
    encoded["role"] = {"developer": "system", "function": "tool"}.get(message["role"], message["role"])
    if isinstance(message.get("content"), list):
        encoded["content"] = "".join(_text(part, where) for part in message["content"])
    return encoded


def _text(part: object, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get(kind) if isinstance(part, dict) and kind in ("text", "refusal") else None
    if not isinstance(text, str):
        raise refused(
            f"{where} has a content part of type {kind!r:.40}; the own model reads text only",
            param=f"{where}.content",
        )
    return text


def _value(body: dict[str, msgspec.Raw], name: str) -> object:
    return _load(body[name], name) if name in body else None


def _load(raw: msgspec.Raw, name: str) -> object:
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refused(f"{name} is no JSON: {error}", param=name) from error


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))
