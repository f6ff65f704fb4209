"""A JSON Schema as the grammar that the runtime samples under.

The runtime (LLGuidance inside llama.cpp) answers *without any constraint* where it cannot compile a schema,
and says so in a log alone. So what it cannot compile is refused here; what was found to compile, and what
not, stands in tests/integration/test_own_model.py.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from .refuse import refused

_UNSUPPORTED = frozenset(
    (
        *(
            "not",
            "if",
            "then",
            "else",
            "uniqueItems",
            "contains",
            "minContains",
            "maxContains",
            "propertyNames",
        ),
        *(
            "dependencies",
            "dependentRequired",
            "dependentSchemas",
            "unevaluatedItems",
            "unevaluatedProperties",
        ),
        *("$dynamicRef", "$recursiveRef"),
    )
)
_FORMATS = ("date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_ONE = ("items", "additionalProperties", "additionalItems")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_BOUNDS = (
    *(("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")),
    *(("minProperties", "maxProperties"), ("exclusiveMinimum", "exclusiveMaximum")),
)
_MAX_BYTES = 65_536
_MAX_DEPTH = 32
_MAX_ITEMS = 1000
"""More items than this the runtime does not compile, and the context hardly holds."""
# One line, as the model has seen most JSON: line breaks cost tokens, and lead a small model astray.
_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_NO_PATTERN = re.compile(r"\(\?<?[=!]|\(\?P=")
_NO_ESCAPE = re.compile(r"[1-9bBkAzZ]")

JSON_OBJECT: dict[str, Any] = {"type": "object"}


def grammar(schema: object) -> str:
    """Return the grammar under which answers satisfy the schema.

    Raises:
        ProviderRejected: it is no schema, or says what the runtime cannot enforce; the message names the
            place.
    """
    if len(msgspec.json.encode(schema)) > _MAX_BYTES:
        raise refused(
            f"the schema is larger than {_MAX_BYTES} bytes; send a smaller one", param="response_format"
        )
    cleaned = _Walk(schema).clean(schema, "#", 0)
    if cleaned is False or cleaned is True:
        cleaned = {"anyOf": [cleaned]}
    text = msgspec.json.encode({**cleaned, "x-guidance": _STYLE}).decode()
    return f"%llguidance {{}}\nstart: %json {text}"


class _Walk:
    """Goes through one schema, refusing what cannot be enforced and leaving out what needs no enforcing."""

    def __init__(self, root: object) -> None:
        self._root = root

    def clean(self, node: object, path: str, depth: int) -> dict[str, Any] | bool:
        if node is True:
            return True
        if not isinstance(node, dict):
            raise _bad(path, f"is {node!r:.40}, which allows no answer or is no schema; put an object there")
        if depth > _MAX_DEPTH:
            raise _bad(path, f"is nested deeper than {_MAX_DEPTH} levels; flatten it")
        for keyword in node.keys() & _UNSUPPORTED:
            if node[keyword] is not False:
                raise _bad(f"{path}/{keyword}", "cannot be enforced by the own model; leave it out")
        for keyword, check in _CHECKS.items():
            if keyword in node:
                check(node[keyword], f"{path}/{keyword}")
        self._ref(node, path)
        _bounds(node, path)
        return {**_plain(node), **self._nested(node, path, depth + 1)}

    def _nested(self, node: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for keyword in _ONE:
            value = node.get(keyword)
            if isinstance(value, list):  # the older form of prefixItems
                found[keyword] = [self.clean(v, f"{path}/{keyword}/{i}", depth) for i, v in enumerate(value)]
            elif value is not None:
                found[keyword] = False if value is False else self.clean(value, f"{path}/{keyword}", depth)
        for keyword in _LISTS:
            if keyword in node:
                found[keyword] = [
                    self.clean(v, f"{path}/{keyword}/{i}", depth)
                    for i, v in enumerate(_list(node[keyword], path, keyword))
                ]
        for keyword in _MAPS:
            if keyword in node:
                if not isinstance(node[keyword], dict):
                    raise _bad(f"{path}/{keyword}", "must be an object of schemas")
                found[keyword] = {
                    k: self.clean(v, f"{path}/{keyword}/{k}", depth) for k, v in node[keyword].items()
                }
        for pattern in node.get("patternProperties", ()):
            _pattern(pattern, f"{path}/patternProperties")
        return found

    def _ref(self, node: dict[str, Any], path: str) -> None:
        ref = node.get("$ref")
        if ref is None:
            return
        target: Any = self._root
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise _bad(f"{path}/$ref", f"{ref!r} points out of the schema; only '#/...' can be followed")
        for step in ref[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            target = target.get(key) if isinstance(target, dict) else None
        if target is None:
            raise _bad(f"{path}/$ref", f"{ref!r} points at nothing")


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in node.items() if k not in _UNSUPPORTED}
    if kept.get("format") not in _FORMATS:
        kept.pop("format", None)  # by JSON Schema a note, not a rule (2020-12 validation, section 7.2.1)
    if kept.get("maxItems", 0) > _MAX_ITEMS:
        del kept["maxItems"]
    return kept


def _bounds(node: dict[str, Any], path: str) -> None:
    for low, high in _BOUNDS:
        for keyword in (low, high):
            value = node.get(keyword, 0)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _bad(f"{path}/{keyword}", f"must be a number, not {value!r:.40}")
        if low in node and high in node and node[low] > node[high]:
            raise _bad(path, f"has {low} {node[low]} above {high} {node[high]}: no answer can satisfy it")


def _list(value: object, path: str, keyword: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _bad(f"{path}/{keyword}", "must be a list that is not empty")
    return value


def _type(value: object, path: str) -> None:
    for name in value if isinstance(value, list) and value else [value]:
        if name not in _TYPES:
            raise _bad(path, f"is {name!r:.40}; a type is one of {', '.join(_TYPES)}")


def _pattern(value: object, path: str) -> None:
    if not isinstance(value, str):
        raise _bad(path, f"must be text, not {value!r:.40}")
    try:
        re.compile(re.sub(r"\\[pP]\{\w+\}", r"\\w", value))
    except re.error as error:
        raise _bad(path, f"{value!r:.60} is no regular expression: {error}") from error
    bare = re.sub(r"\\(.)", lambda m: "\0" if _NO_ESCAPE.match(m[1]) else "", value)
    if "\0" in bare or _NO_PATTERN.search(bare):
        raise _bad(
            path, f"{value!r:.60} looks around, looks back or names a word's edge, which cannot be enforced"
        )


def _names(value: object, path: str) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _bad(path, "must be a list of property names")


def _enum(value: object, path: str) -> None:
    if not isinstance(value, list) or not value:
        raise _bad(path, "must be a list that is not empty")


_CHECKS: dict[str, Callable[[object, str], None]] = {
    "type": _type,
    "pattern": _pattern,
    "required": _names,
    "enum": _enum,
}


def _bad(path: str, what: str) -> Exception:
    return refused(f"the schema at {path} {what}", param="response_format", code="invalid_schema")
