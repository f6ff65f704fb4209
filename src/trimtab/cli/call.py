"""`trimtab call`: ask a model through the running gateway, as an application would."""

import http.client
import json as jsonlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from .link import request, running
from .options import AsJson, Place
from .terminal import CommandFailed, is_terminal, note, printable, show_duration, write, write_json


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How the model is asked."""

    system: Annotated[str, Parameter(help="System prompt.")] = ""
    temperature: Annotated[float | None, Parameter(help="0 for the likeliest words; else the model's own.")] = None
    max_tokens: Annotated[int | None, Parameter(help="Longest answer, in tokens.")] = None
    stream: Annotated[bool, Parameter(help="Print the answer while it is being made.")] = True


def call(
    model: str,
    prompt: str | None = None,
    *,
    asking: Asking | None = None,
    place: Place | None = None,
    json: AsJson = False,
) -> int:
    """Ask a model through the running gateway; the answer goes to stdout.

    `trimtab call PROMPT` asks the model that answers by default. PROMPT may be `-` for what stdin holds. On a
    terminal, control characters of the answer are shown and not obeyed; a pipe gets the answer as it is. Where the
    gateway wants a key, it is read from TRIMTAB_API_KEY.

    Args:
        model: `provider/model`, `route/NAME` or a bare model name; may be left out.
        prompt: What to ask.
        asking: How the model is asked.
        place: Which installation.
        json: Print the whole reply as JSON, unstreamed.
    """
    asking = asking or Asking()
    name, text = ("", model) if prompt is None else (model, prompt)
    if text == "-":
        text = sys.stdin.read()
    if not text.strip():
        raise CommandFailed("there is nothing to ask", mend="trimtab call 'What is ...?'", exit_code=2)
    gateway = running(place or Place()).gateway
    body = _body(name or _default_model(gateway), text, asking)
    body["stream"] = asking.stream and not json
    if body["stream"]:
        body["stream_options"] = {"include_usage": True}
    began = time.monotonic()
    url = f"{gateway}/v1/chat/completions"
    with request("POST", url, token=_key(), body=body) as reply:
        if body["stream"]:
            last = _print_stream(reply)
        else:
            last = jsonlib.load(reply)
            if json:
                write_json(last)
                return 0
            _say(_text(last, "message"))
        write()
        _footer(last, reply, time.monotonic() - began)
    return 0


def _key() -> str:
    return os.environ.get("TRIMTAB_API_KEY", "")


def _default_model(gateway: str) -> str:
    with request("GET", f"{gateway}/v1/models", token=_key(), timeout_s=10) as reply:
        models = jsonlib.load(reply)["data"]
    if not models:
        raise CommandFailed(
            "no model answers here",
            mend="set OPENAI_API_KEY, or `pip install 'trimtab[local]'`, then start `trimtab up` again",
        )
    return str(models[0]["id"])


def _body(model: str, text: str, asking: Asking) -> dict[str, Any]:
    messages = [{"role": "system", "content": asking.system}] if asking.system else []
    body: dict[str, Any] = {"model": model, "messages": [*messages, {"role": "user", "content": text}]}
    if asking.temperature is not None:
        body["temperature"] = asking.temperature
    if asking.max_tokens is not None:
        body["max_tokens"] = asking.max_tokens
    return body


def _print_stream(reply: http.client.HTTPResponse) -> dict[str, Any]:
    """Print the answer piece by piece; return the facts of the last events."""
    facts: dict[str, Any] = {}
    try:
        for event in _events(reply):
            if "error" in event:
                write()
                error = event["error"]
                raise CommandFailed(
                    f"the answer broke off: {error.get('message')} ({error.get('code')})",
                    mend="what is printed above is not the whole answer",
                )
            facts.update({name: value for name, value in event.items() if value})
            _say(_text(event, "delta"))
    except http.client.IncompleteRead:
        write()
        raise CommandFailed(
            "the answer broke off: the connection ended", mend="what is printed above is not the whole answer"
        ) from None
    return facts


def _events(reply: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the JSON events of a `text/event-stream`; one that ends without `[DONE]` is incomplete."""
    for line in reply:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        yield jsonlib.loads(data)
    raise http.client.IncompleteRead(b"")


def _text(event: dict[str, Any], part: str) -> str:
    return "".join(
        (choice.get(part) or {}).get("content") or (choice.get(part) or {}).get("refusal") or ""
        for choice in event.get("choices") or []
    )


def _say(text: str) -> None:
    write(printable(text) if is_terminal(sys.stdout) else text, end="")


def _footer(facts: dict[str, Any], reply: http.client.HTTPResponse, took_s: float) -> None:
    usage = facts.get("usage") or {}
    parts = [
        reply.headers.get("x-trimtab-model") or str(facts.get("model", "")),
        f"{usage['prompt_tokens']} + {usage.get('completion_tokens', 0)} tokens" if "prompt_tokens" in usage else "",
        show_duration(took_s * 1000),
        "degraded" if reply.headers.get("x-trimtab-degraded") else "",
        f"call {reply.headers['x-trimtab-call-id']}" if "x-trimtab-call-id" in reply.headers else "",
    ]
    if is_terminal(sys.stderr):
        note(" · ".join(part for part in parts if part), "dim")
