"""A provider as a form has it, there and back: headers as lines, deadlines as fields, options as JSON."""

import re
from typing import Any

import msgspec

from trimtab.types import Deadlines, ProviderSpec

from .form import Form

_SEPARATORS = re.compile(r"[\s,]+")

DEADLINES: tuple[str, ...] = Deadlines.__struct_fields__

MOST_CONNECTIONS = 10_000
LONGEST_S = 86_400


def read_spec(form: Form, now: ProviderSpec, kinds: list[str]) -> ProviderSpec:
    """Return the provider that a form describes; what is wrong is noted at its field.

    Args:
        form: what was sent.
        now: what it was before: what the form does not say stays.
        kinds: what may be chosen.
    """
    base_url = form.text("base_url", longest=500)
    if base_url and not base_url.startswith(("https://", "http://")):
        form.problem("base_url", "url")
    models = tuple(filter(None, _SEPARATORS.split(form.text("models", longest=20_000))))
    said: dict[str, Any] = {
        "kind": form.choice("kind", kinds),
        "base_url": base_url,
        "models": tuple(dict.fromkeys(models)),
    }
    if "headers" in form.values:
        said |= {"headers": _headers(form), "deadlines": _deadlines(form), "options": _options(form)}
        said["max_connections"] = form.number("max_connections", least=1, most=MOST_CONNECTIONS, empty=1000)
    return msgspec.structs.replace(now, **said)


def fields_of(spec: ProviderSpec) -> dict[str, str]:
    """Return a provider as the fields of its form."""
    deadlines = {} if spec.deadlines is None else msgspec.structs.asdict(spec.deadlines)
    return {
        "kind": spec.kind,
        "base_url": spec.base_url,
        "models": "\n".join(spec.models),
        "headers": "\n".join(f"{name}: {value}" for name, value in spec.headers.items()),
        "max_connections": str(spec.max_connections),
        "options": msgspec.json.encode(spec.options).decode() if spec.options else "",
        **{name: f"{seconds:g}" for name, seconds in deadlines.items()},
    }


def _headers(form: Form) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in form.text("headers", longest=20_000).splitlines():
        name, colon, value = line.partition(":")
        if line.strip() and not colon:
            form.problem("headers", "header_line", line=line[:80])
        elif line.strip():
            found[name.strip()] = value.strip()
    return found


def _deadlines(form: Form) -> Deadlines | None:
    """Return deadlines where one was given: those left empty have the usual length."""
    given: dict[str, float] = {}
    for name in DEADLINES:
        text = form.text(name, longest=20)
        if not text:
            continue
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) is None or not 0 < float(text) <= LONGEST_S:
            form.problem(name, "seconds", most=LONGEST_S)
            continue
        given[name] = float(text)
    return Deadlines(**given) if given else None


def _options(form: Form) -> dict[str, Any]:
    text = form.text("options", longest=20_000)
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError):
        form.problem("options", "json_object")
        return {}
