"""The default script: says the question back, or does what the request's options ask, always the same way."""

from typing import Any

import msgspec

from .reply import Ask, Choice, Scripted, ToolCall, split_tokens
from .wire.instance import SchemaTooHard, fit


def echo(ask: Ask) -> Scripted:
    """Answer with the last user message, word for word.

    Honours `n` (later choices say which they are), `max_tokens` and `max_completion_tokens`, `tools` and
    `tool_choice` (calls one tool with arguments that fit, unless a tool has just answered) and
    `response_format` (a value that fits the schema). Embeddings are unit vectors made from a hash. A schema
    that the fake cannot satisfy is answered with a 400 that says why.
    """
    if ask.kind == "embeddings":
        return Scripted()
    try:
        first = _answer(ask)
    except SchemaTooHard as e:
        return Scripted(status=400, error=f"fake provider: {e}")
    count = ask.body.get("n")
    others = [_nth(first, n) for n in range(1, count)] if isinstance(count, int) else []
    return Scripted(first.text, tool_calls=first.tool_calls, finish_reason=first.finish_reason, others=others)


def _nth(first: Choice, number: int) -> Choice:
    if first.tool_calls or not isinstance(first.text, str) or first.text.startswith("{"):
        return first
    return Choice(f"{first.text} [{number}]", finish_reason=first.finish_reason)


def _answer(ask: Ask) -> Choice:
    tool = _wanted_tool(ask)
    if tool is not None:
        call = ToolCall(str(tool.get("name", "")), _json(fit(tool.get("parameters") or {"type": "object"})))
        # OpenAI says "stop" where the caller forced one function by name.
        forced = isinstance(ask.body.get("tool_choice"), dict)
        return Choice(tool_calls=(call,), finish_reason="stop" if forced else "tool_calls")
    text = _structured(ask) or ask.last_message("tool" if _after_tool(ask) else "user")
    limit = ask.body.get("max_completion_tokens") or ask.body.get("max_tokens")
    tokens = split_tokens(text)
    if isinstance(limit, int) and len(tokens) > limit:
        return Choice("".join(tokens[:limit]), finish_reason="length")
    return Choice(text)


def _after_tool(ask: Ask) -> bool:
    messages = ask.messages()
    return bool(messages) and messages[-1].get("role") == "tool"


def _wanted_tool(ask: Ask) -> dict[str, Any] | None:
    """Return the function to call, or None where text is due."""
    tools = ask.body.get("tools")
    choice = ask.body.get("tool_choice", "auto")
    if not isinstance(tools, list) or choice == "none":
        return None
    functions = [t["function"] for t in tools if isinstance(t, dict) and isinstance(t.get("function"), dict)]
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        return next((f for f in functions if f.get("name") == name), None)
    if choice == "auto" and _after_tool(ask):
        return None
    return functions[0] if functions else None


def _structured(ask: Ask) -> str:
    """Return the JSON text that `response_format` asks for; empty where it asks for none."""
    wanted = ask.body.get("response_format")
    if not isinstance(wanted, dict):
        return ""
    match wanted.get("type"):
        case "json_schema":
            return _json(fit((wanted.get("json_schema") or {}).get("schema", True)))
        case "json_object":
            return _json({"echo": ask.last_message("user")})
        case _:
            return ""


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
