"""A recorded call as code that makes it again: for a terminal, and for OpenAI's Python client."""

import json
import keyword
from dataclasses import dataclass
from pprint import pformat
from typing import Any

from trimtab.types import Call

from .conversation import decode

KEY = "TRIMTAB_KEY"
"""Environment variable that stands for the key: nobody's key is in what is copied."""

_KINDS = {
    "chat": ("/v1/chat/completions", "chat.completions"),
    "embeddings": ("/v1/embeddings", "embeddings"),
}
"""Kind of a call: path, and method of the client."""

_KNOWN = frozenset(
    {
        "audio", "dimensions", "encoding_format", "frequency_penalty", "input", "logit_bias", "logprobs", "max_tokens",
        "max_completion_tokens", "messages", "metadata", "modalities", "model", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "reasoning_effort", "response_format", "seed", "service_tier", "stop",
        "store", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user",
        "verbosity",
    }
)  # fmt: skip
"""Parameters that the client's methods take by name (openai 3.x); all others go into `extra_body`."""

_LONGEST = 100_000
"""Characters of code that a page holds; who repeats a longer request has the JSON."""


@dataclass(frozen=True)
class Reuse:
    """The same request, to be made again."""

    curl: str
    python: str


def reuse(call: Call, gateway: str) -> Reuse | None:
    """Return the code; None where the request was not kept whole, is of a kind of its own, or very long."""
    body = decode(call.opened.request)
    if call.opened.payload != "full" or not isinstance(body, dict) or call.opened.kind not in _KINDS:
        return None
    path, method = _KINDS[call.opened.kind]
    body = {"model": call.opened.model_asked or call.opened.model} | body
    made = Reuse(_curl(f"{gateway}{path}", body), _python(f"{gateway}/v1", method, body))
    return made if len(made.curl) + len(made.python) <= _LONGEST else None


def _curl(url: str, body: dict[str, Any]) -> str:
    text = json.dumps(body, ensure_ascii=False, indent=2).replace("'", "'\\''")
    return (
        f"curl {url} \\\n  -H 'content-type: application/json' \\\n"
        f"  -H \"authorization: Bearer ${KEY}\" \\\n  -d '{text}'"
    )


def _python(url: str, method: str, body: dict[str, Any]) -> str:
    named = {name: value for name, value in body.items() if name in _KNOWN and not keyword.iskeyword(name)}
    others = {name: value for name, value in body.items() if name not in named}
    arguments = named | ({"extra_body": others} if others else {})
    lines = [f"    {name}={_literal(value)}," for name, value in arguments.items()]
    end = "for chunk in reply:\n    print(chunk)" if body.get("stream") is True else "print(reply)"
    return "\n".join(
        [
            "import os",
            "",
            "from openai import OpenAI",
            "",
            f'client = OpenAI(base_url="{url}", api_key=os.environ["{KEY}"])',
            f"reply = client.{method}.create(",
            *lines,
            ")",
            end,
        ]
    )


def _literal(value: object) -> str:
    return pformat(value, width=96, sort_dicts=False).replace("\n", "\n    ")
