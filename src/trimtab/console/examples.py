"""Examples of calls that work in this installation, for people to copy."""

import json

from trimtab.types import Snapshot

_MODEL = "openai/gpt-4o-mini"
"""Where no provider lists a model: a name that everybody knows how to replace."""


def listed_models(snapshot: Snapshot) -> list[str]:
    """Return the full names of all models that providers list."""
    return [f"{spec.name}/{model}" for spec in snapshot.providers for model in spec.models]


def example_model(snapshot: Snapshot) -> str:
    """Return a model to ask in an example: the default one, else the first that a provider lists."""
    return snapshot.default_model or next(iter(listed_models(snapshot)), _MODEL)


def example_call(gateway: str, key: str, model: str, greeting: str) -> str:
    """Return a command that makes a call with a key; empty where no gateway is known."""
    if not gateway:
        return ""
    body = {"model": model, "messages": [{"role": "user", "content": greeting}]}
    return (
        f"curl {gateway}/v1/chat/completions \\\n  -H 'Authorization: Bearer {key}' \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d '{json.dumps(body, ensure_ascii=False)}'"
    )
