"""Making attributes of whatever a program holds: bounded, plain, and never an error."""

from collections.abc import Mapping
from typing import Any

import msgspec

MOST_ITEMS = 50
LONGEST_TEXT = 2000
DEEPEST = 5
LARGEST_BYTES = 12 * 1024
"""Of all attributes of a span together, as JSON; the gateway refuses more than 16 KiB."""


def shorten(value: object, depth: int = DEEPEST) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON form of a value: long texts and lists are cut, what has none is described."""
    if (
        value is None
        or isinstance(value, bool | float)
        or (isinstance(value, int) and -(2**63) <= value < 2**63)
    ):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth <= 0:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _items(value, depth)
    if isinstance(value, msgspec.Struct):
        fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return {name: shorten(field, depth - 1) for name, field in fields}
    return _described(value)


def encoded(attributes: Mapping[str, Any]) -> bytes:
    """Return attributes, shortened by now, as JSON of at most `LARGEST_BYTES`: the largest ones go first."""
    parts = {name: msgspec.json.encode(value) for name, value in attributes.items()}
    size = sum(len(part) + len(name) + 8 for name, part in parts.items())
    for name in sorted(parts, key=lambda name: len(parts[name]), reverse=True):
        if size <= LARGEST_BYTES:
            break
        size -= len(parts[name]) - 40
        parts[name] = msgspec.json.encode(f"<left out: {len(parts[name])} bytes>")
    return msgspec.json.encode({name: msgspec.Raw(part) for name, part in parts.items()})


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, item in value.items():
        if len(kept) >= MOST_ITEMS:
            kept["..."] = f"{len(value) - MOST_ITEMS} more"
            break
        kept[_text(key) if isinstance(key, str) else _described(key)] = shorten(item, depth - 1)
    return kept


def _items(value: Any, depth: int) -> list[Any]:  # noqa: ANN401 - any sized collection
    kept: list[Any] = []
    for item in value:
        if len(kept) >= MOST_ITEMS:
            kept.append(f"... {len(value) - MOST_ITEMS} more")
            break
        kept.append(shorten(item, depth - 1))
    return kept


def _text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}... ({len(text)} characters)"
    return text.encode("utf-8", "replace").decode()


def _described(value: object) -> str:
    try:
        return _text(repr(value))
    except Exception:  # noqa: BLE001 - a stranger's __repr__ may raise anything, and must not break their function
        return f"<{type(value).__name__}>"
