"""Pieces that all of OTLP's messages are made of."""

from collections.abc import Iterable, Mapping
from typing import Any

from .names import SCHEMA, SCOPE
from .wire import Tree


def value_tree(value: Any) -> Tree:  # noqa: ANN401 - texts, numbers, flags, sequences of them
    """Return an `AnyValue`; what is none of its kinds becomes its text."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": value} if -(1 << 63) <= value < 1 << 63 else {"doubleValue": float(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, tuple | list):
        return {"arrayValue": {"values": [value_tree(item) for item in value]}}
    return {"stringValue": str(value)}


def attribute(name: str, value: Any) -> Tree:  # noqa: ANN401
    """Return a `KeyValue`."""
    return {"key": name, "value": value_tree(value)}


def attributes(facts: Iterable[tuple[str, Any]]) -> list[Tree]:
    """Return the `KeyValue`s of what has a value: None, an empty text and an empty tuple have none."""
    return [attribute(name, value) for name, value in facts if value is not None and value not in ("", ())]


def resource_tree(facts: Mapping[str, Any]) -> Tree:
    """Return a `Resource`."""
    return {"attributes": attributes(facts.items())}


def whole(message: str, inner: str, items: list[Tree], resource: Tree, version: str) -> Tree:
    """Return a request: `resourceSpans` → `scopeSpans` → `spans`, and likewise for the other signals.

    Args:
        message: `Spans`, `Logs` or `Metrics`.
        inner: name of the list of items.
        items: the items.
        resource: who sends it.
        version: of the scope, that is Trimtab.
    """
    scope = {"scope": {"name": SCOPE, "version": version}, inner: items, "schemaUrl": SCHEMA}
    return {f"resource{message}": [{"resource": resource, f"scope{message}": [scope], "schemaUrl": SCHEMA}]}
