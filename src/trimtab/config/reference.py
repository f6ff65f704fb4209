"""The table of settings, and the reference page made from it."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec

from .check import expectation, shape_of, toml_text
from .schema import Document


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of the file."""

    table: str
    """Its table's header, such as `gateway` or `providers.NAME`."""
    name: str
    takes: str
    default: str
    description: str


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table of the file."""

    header: str
    description: str
    settings: tuple[Setting, ...]


_PLACEHOLDER = {
    "providers": "NAME",
    "models": '"PROVIDER/MODEL"',
    "routes": "NAME",
    "limits": "NAME",
    "budgets": "NAME",
    "sinks": "NAME",
    "alerts": "NAME",
    "webhooks": "NAME",
}


def tables() -> tuple[Table, ...]:
    """Return every table a `trimtab.toml` may have, in the order of the page."""
    return tuple(_tables(Document, ""))


def reference_page() -> str:
    """Return docs/reference/configuration.md: a test holds the file to it."""
    parts = [_HEAD]
    for table in tables():
        parts.append(f"## `[{table.header}]`\n\n{table.description}\n")
        parts.append("| setting | takes | default | |\n|---|---|---|---|")
        parts += [f"| `{s.name}` | {s.takes} | {s.default} | {s.description} |" for s in table.settings]
        parts[-1] += "\n"
    return "\n".join(parts)


def _tables(cls: type[msgspec.Struct], header: str) -> Iterator[Table]:
    nested: list[tuple[type[msgspec.Struct], str]] = []
    plain: list[Setting] = []
    for field in msgspec.structs.fields(cls):
        shape, inner = shape_of(field.type)
        path = f"{header}.{field.name}" if header else field.name
        if inner is not None:
            if shape == "tables":
                path += "." + _PLACEHOLDER[field.name]
            nested.append((inner, f"[{path}]" if shape == "list" else path))
        else:
            plain.append(_setting(field, header))
    if plain:
        yield Table(header=header, description=(cls.__doc__ or "").strip(), settings=tuple(plain))
    for inner, path in nested:
        yield from _tables(inner, path)


def _setting(field: msgspec.structs.FieldInfo, header: str) -> Setting:
    default = "required" if field.required else toml_text(field.default)
    return Setting(
        table=header,
        name=field.name,
        takes=expectation(field.type),
        default=default if default in ("required", "none", "empty") else f"`{default}`",
        description=_description(field.type),
    )


def _description(hint: Any) -> str:  # noqa: ANN401 - any type annotation
    metas = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, msgspec.Meta)]
    found = next((m.description for m in reversed(metas) if m.description), None)
    if found is None and get_origin(hint) is not None:
        found = next((d for d in map(_description, get_args(hint)) if d), None)
    return found or ""


_HEAD = """# Configuration

<!-- Made by `python -m trimtab.config`; edit src/trimtab/config/ instead. -->

Trimtab reads one file, `trimtab.toml`: the one named with `--config`, else the nearest one in the
working folder or above it. No file is needed. Without one, `OPENAI_API_KEY`, `OPENAI_BASE_URL` or both in
the environment make the provider `openai`; without that too, the own model answers.

`${NAME}` in a text is replaced by an environment variable, `${NAME:-default}` by it or the default;
`${file:/path}` by what a file holds and `${cmd:program argument ...}` by what a command prints, both without
white space around it; `$${` is a literal `${`. A command is started without a shell, has 10 seconds, and cannot
hold a `}`. A provider's `api_key`, `headers` and `proxy` are read only by the process that sends them, so a
secret written in one of these ways is stored nowhere; files and commands are asked again at each reload. An
unknown key, a wrong type or a name that leads nowhere is an error that names the key, and a running gateway keeps its
last good configuration. `trimtab config check` says whether a file is sound.

Changes take effect with `trimtab config reload`, or when `trimtab up` gets a SIGHUP: the file is read, checked and
swapped in one step, and a bad one changes nothing and says why. `trimtab config history` and the console show what
changed. `host`, `port`, `workers`, `backpressure`, `idle_timeout_s`, `drain_s`, `[console]`, `[data] dir` and
`durability`, and `[own]` take a restart, and a reload names each of them that differs. `backpressure`,
`idle_timeout_s`, `drain_s` and `durability` are content with `trimtab restart`, which fails no call.

```toml
[providers.openai]
api_key = "${OPENAI_API_KEY}"

[routes.support]
model = "openai/gpt-4o-mini"
fallbacks = ["own/smollm2-135m-instruct"]
parameters = { temperature = 0.2 }
```
"""
