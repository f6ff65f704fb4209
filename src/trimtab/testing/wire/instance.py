"""The smallest JSON value that fits a JSON Schema, for tools and structured answers.

Source: json-schema.org, draft 2020-12: the part that OpenAI's structured outputs accept, without `pattern`.
"""

from typing import Any, cast

Schema = dict[str, Any]
Json = dict[str, Any] | list[Any] | str | float | bool | None

_MAX_DEPTH = 6
"""From this nesting on, optional parts are left out and null branches preferred: recursive schemas end."""

_FORMATS = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uuid": "00000000-0000-7000-8000-000000000000",
}


class SchemaTooHard(ValueError):
    """The schema asks for what the fake cannot make up; script the answer instead."""


def fit(schema: object, root: Schema | None = None, depth: int = 0) -> Json:
    """Return a value that satisfies the schema; the same schema always gives the same value.

    Args:
        schema: a JSON Schema: an object, or `true`.
        root: where `$ref` looks; the schema itself when omitted.
        depth: nesting so far.

    Raises:
        SchemaTooHard: it uses `pattern` or `not`, is `false`, or is endless.
    """
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        raise SchemaTooHard(f"no value fits the schema {schema!r}; expected an object or true")
    if depth > _MAX_DEPTH * 4:
        raise SchemaTooHard("the schema never ends: its values would contain themselves; script the answer")
    base = schema if root is None else root
    for name in ("pattern", "not"):
        if name in schema:
            raise SchemaTooHard(f"the fake cannot make up a value for {name!r}; script the answer instead")
    for name in ("const", "default"):
        if name in schema:
            return cast("Json", schema[name])
    if schema.get("enum"):
        return cast("Json", schema["enum"][0])
    inner = _inner(schema, base, depth)
    return _typed(schema, base, depth) if inner is None else fit(inner, base, depth + 1)


def _inner(schema: Schema, root: Schema, depth: int) -> object | None:
    """Return the schema that this one stands for: a reference, a branch, a sum; None where it is its own."""
    if "$ref" in schema:
        return _resolve(str(schema["$ref"]), root)
    for name in ("anyOf", "oneOf"):
        if schema.get(name):
            return _branch(schema[name], depth)
    return _merged(schema, root) if schema.get("allOf") else None


def _resolve(ref: str, root: Schema) -> object:
    found: object = root
    for step in ref.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            raise SchemaTooHard(f"$ref {ref!r} leads nowhere; only references inside the schema are followed")
        found = found[name]
    return found


def _branch(branches: list[object], depth: int) -> object:
    """Return the first branch that is not null; deep down, the null branch, which ends a recursion."""
    empty = [b for b in branches if isinstance(b, dict) and b.get("type") == "null"]
    full = [b for b in branches if b not in empty]
    return (empty or full)[0] if depth >= _MAX_DEPTH else (full or empty)[0]


def _merged(schema: Schema, root: Schema) -> Schema:
    merged = {k: v for k, v in schema.items() if k != "allOf"}
    for given in schema["allOf"]:
        part: Any = _resolve(str(given["$ref"]), root) if "$ref" in given else given
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", []), *part.get("required", [])]
        merged = {**merged, **part, "properties": properties, "required": required}
    return merged


def _typed(schema: Schema, root: Schema, depth: int) -> Json:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    match kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            return _array(schema, root, depth)
        case "string":
            return _string(schema)
        case "integer" | "number":
            return _number(schema, whole=kind == "integer")
        case "boolean":
            return True
        case _:
            return None


def _object(schema: Schema, root: Schema, depth: int) -> dict[str, Any]:
    required = schema.get("required", [])
    properties: dict[str, Any] = schema.get("properties", {})
    names = [n for n in properties if n in required or depth < _MAX_DEPTH]
    made = {n: fit(properties[n], root, depth + 1) for n in names}
    return made | {n: "" for n in required if n not in properties}


def _array(schema: Schema, root: Schema, depth: int) -> list[Any]:
    least = schema.get("minItems", 0)
    most = schema.get("maxItems", 1)
    count = least if depth >= _MAX_DEPTH else max(least, min(1, most))
    ahead = schema.get("prefixItems", [])
    items: list[Any] = [fit(s, root, depth + 1) for s in ahead]
    return items + [fit(schema.get("items", True), root, depth + 1) for _ in range(count - len(items))]


def _string(schema: Schema) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = "text".ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: Schema, *, whole: bool) -> float:
    """Return the allowed multiple nearest to zero, or the middle of a range too narrow to hold one."""
    step: float = schema.get("multipleOf", 1)
    floor: float | None = schema.get("minimum", schema.get("exclusiveMinimum"))
    ceiling: float | None = schema.get("maximum", schema.get("exclusiveMaximum"))
    value: float = 0
    if floor is not None and floor >= 0:
        value = -(-floor // step) * step
        value += step if value == schema.get("exclusiveMinimum") else 0
    elif ceiling is not None and ceiling <= 0:
        value = ceiling // step * step
        value -= step if value == schema.get("exclusiveMaximum") else 0
    if floor is not None and ceiling is not None and not floor <= value <= ceiling:
        value = (floor + ceiling) / 2
    return int(value) if whole else value
