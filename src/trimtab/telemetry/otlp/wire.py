"""OTLP's messages in both of its encodings, made from one tree: Protocol Buffers and JSON.

A tree is a dict with the lowerCamelCase names of OTLP's JSON mapping; ids are hexadecimal texts, times and counts
whole numbers. `MESSAGES` says which number and type a field has in Protocol Buffers; fields that we never send are
not in it. Sources: github.com/open-telemetry/opentelemetry-proto (v1.7, stable), its "JSON Protobuf Encoding" in
opentelemetry.io/docs/specs/otlp, and protobuf.dev/programming-guides/encoding.

Why our own: docs/adr/0009-otlp-encoding.md.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

Tree = dict[str, Any]

MESSAGES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "Traces": {"resourceSpans": (1, "*ResourceSpans")},
    "ResourceSpans": {
        "resource": (1, "Resource"),
        "scopeSpans": (2, "*ScopeSpans"),
        "schemaUrl": (3, "string"),
    },
    "ScopeSpans": {"scope": (1, "Scope"), "spans": (2, "*Span"), "schemaUrl": (3, "string")},
    "Span": {
        "traceId": (1, "hex"),
        "spanId": (2, "hex"),
        "parentSpanId": (4, "hex"),
        "name": (5, "string"),
        "kind": (6, "varint32"),
        "startTimeUnixNano": (7, "fixed64"),
        "endTimeUnixNano": (8, "fixed64"),
        "attributes": (9, "*KeyValue"),
        "events": (11, "*Event"),
        "status": (15, "Status"),
        "flags": (16, "fixed32"),
    },
    "Event": {"timeUnixNano": (1, "fixed64"), "name": (2, "string"), "attributes": (3, "*KeyValue")},
    "Status": {"message": (2, "string"), "code": (3, "varint32")},
    "Logs": {"resourceLogs": (1, "*ResourceLogs")},
    "ResourceLogs": {
        "resource": (1, "Resource"),
        "scopeLogs": (2, "*ScopeLogs"),
        "schemaUrl": (3, "string"),
    },
    "ScopeLogs": {"scope": (1, "Scope"), "logRecords": (2, "*LogRecord"), "schemaUrl": (3, "string")},
    "LogRecord": {
        "timeUnixNano": (1, "fixed64"),
        "severityNumber": (2, "varint32"),
        "severityText": (3, "string"),
        "body": (5, "AnyValue"),
        "attributes": (6, "*KeyValue"),
        "flags": (8, "fixed32"),
        "traceId": (9, "hex"),
        "spanId": (10, "hex"),
        "observedTimeUnixNano": (11, "fixed64"),
        "eventName": (12, "string"),
    },
    "Metrics": {"resourceMetrics": (1, "*ResourceMetrics")},
    "ResourceMetrics": {
        "resource": (1, "Resource"),
        "scopeMetrics": (2, "*ScopeMetrics"),
        "schemaUrl": (3, "string"),
    },
    "ScopeMetrics": {"scope": (1, "Scope"), "metrics": (2, "*Metric"), "schemaUrl": (3, "string")},
    "Metric": {
        "name": (1, "string"),
        "description": (2, "string"),
        "unit": (3, "string"),
        "gauge": (5, "Gauge"),
        "sum": (7, "Sum"),
        "histogram": (9, "Histogram"),
    },
    "Gauge": {"dataPoints": (1, "*NumberDataPoint")},
    "Sum": {
        "dataPoints": (1, "*NumberDataPoint"),
        "aggregationTemporality": (2, "varint32"),
        "isMonotonic": (3, "bool"),
    },
    "Histogram": {"dataPoints": (1, "*HistogramDataPoint"), "aggregationTemporality": (2, "varint32")},
    "NumberDataPoint": {
        "startTimeUnixNano": (2, "fixed64"),
        "timeUnixNano": (3, "fixed64"),
        "asDouble": (4, "+double"),
        "asInt": (6, "+fixed64"),
        "attributes": (7, "*KeyValue"),
    },
    "HistogramDataPoint": {
        "startTimeUnixNano": (2, "fixed64"),
        "timeUnixNano": (3, "fixed64"),
        "count": (4, "fixed64"),
        "sum": (5, "+double"),
        "bucketCounts": (6, "*fixed64"),
        "explicitBounds": (7, "*double"),
        "attributes": (9, "*KeyValue"),
    },
    "Resource": {"attributes": (1, "*KeyValue")},
    "Scope": {"name": (1, "string"), "version": (2, "string")},
    "KeyValue": {"key": (1, "string"), "value": (2, "AnyValue")},
    "AnyValue": {
        "stringValue": (1, "+string"),
        "boolValue": (2, "+bool"),
        "intValue": (3, "+int64"),
        "doubleValue": (4, "+double"),
        "arrayValue": (5, "+ArrayValue"),
    },
    "ArrayValue": {"values": (1, "*AnyValue")},
}
"""Message → field → (number, type). `*` before a type: repeated; `+`: written where it is zero too."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""

_LONGS: Final = frozenset({"fixed64", "int64"})
"""Types that JSON writes as decimal texts."""


def to_protobuf(message: str, tree: Tree) -> bytes:
    """Return a message in Protocol Buffers. 15 µs a span of ten attributes."""
    fields = MESSAGES[message]
    return b"".join([_field(*fields[name], value) for name, value in tree.items()])


def to_json(message: str, tree: Tree) -> bytes:
    """Return a message in OTLP's JSON: as Protocol Buffers' own, but ids in hexadecimal."""
    return msgspec.json.encode(_plain(message, tree))


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # two's complement, as int64 has it
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_double = struct.Struct("<d").pack
_long = struct.Struct("<Q").pack
_int = struct.Struct("<I").pack

_SCALARS: Final[dict[str, tuple[int, Callable[[Any], bytes]]]] = {
    "string": (_BYTES, lambda text: text.encode("utf-8", "replace")),
    "hex": (_BYTES, bytes.fromhex),
    "bool": (_VARINT, lambda flag: b"\x01" if flag else b"\x00"),
    "varint32": (_VARINT, _varint),
    "int64": (_VARINT, _varint),
    "fixed64": (_FIXED64, _long),
    "fixed32": (_FIXED32, _int),
    "double": (_FIXED64, _double),
}


def _field(number: int, kind: str, value: Any) -> bytes:  # noqa: ANN401 - whatever the kind says
    if kind[0] == "*":
        return _repeated(number, kind[1:], value)
    if kind[0] == "+":
        kind = kind[1:]
    elif not value:
        return b""  # proto3: what has its default is not on the wire
    return _one(number, kind, value)


def _one(number: int, kind: str, value: Any) -> bytes:  # noqa: ANN401
    scalar = _SCALARS.get(kind)
    if scalar is None:
        data = to_protobuf(kind, value)
        return _varint(number << 3 | _BYTES) + _varint(len(data)) + data
    wire, encode = scalar
    data = encode(value)
    length = _varint(len(data)) if wire == _BYTES else b""
    return _varint(number << 3 | wire) + length + data


def _repeated(number: int, kind: str, values: list[Any]) -> bytes:
    scalar = _SCALARS.get(kind)
    if scalar is None or scalar[0] == _BYTES:
        return b"".join([_one(number, kind, value) for value in values])
    if not values:
        return b""
    packed = b"".join([scalar[1](value) for value in values])
    return _varint(number << 3 | _BYTES) + _varint(len(packed)) + packed


def _plain(message: str, tree: Tree) -> Tree:
    fields = MESSAGES[message]
    return {name: _plain_value(fields[name][1], value) for name, value in tree.items()}


def _plain_value(kind: str, value: Any) -> Any:  # noqa: ANN401
    if kind[0] == "*":
        return [_plain_value(kind[1:], item) for item in value]
    kind = kind.removeprefix("+")
    if kind in _LONGS:
        return str(value)
    return value if kind in _SCALARS else _plain(kind, value)


def partial_success(body: bytes, *, as_json: bool) -> tuple[int, str]:
    """Return how many items a collector did not take, and why, from its answer to an export.

    An answer that cannot be read says nothing: the status was 200.
    """
    try:
        if as_json:
            found = (msgspec.json.decode(body) if body else {}).get("partialSuccess") or {}
            rejected = next((int(n) for name, n in found.items() if name.startswith("rejected")), 0)
            return rejected, str(found.get("errorMessage", ""))[:500]
        for number, value in _read(body):
            if number == 1 and isinstance(value, bytes):
                inner = dict(_read(value))
                said, count = inner.get(2, b""), inner.get(1, 0)
                text = said.decode("utf-8", "replace") if isinstance(said, bytes) else ""
                return count if isinstance(count, int) else 0, text[:500]
    except (ValueError, AttributeError, IndexError, TypeError):
        pass
    return 0, ""


def _read(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a message whose fields are varints and byte strings."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, at = _read_varint(data, at)
        if key & 7 == _VARINT:
            yield key >> 3, number
        elif key & 7 == _BYTES:
            yield key >> 3, data[at : at + number]
            at += number
        else:
            return


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
        if shift > 63:
            raise ValueError("a varint of more than ten bytes")
