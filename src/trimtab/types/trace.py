"""W3C trace context: which trace and span a request was made in (https://www.w3.org/TR/trace-context/, 3.2)."""

import re

_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?", re.ASCII
)


def parse_trace_parent(header: str) -> tuple[str, str] | None:
    """Return (trace id, span id) of a `traceparent` header; None where it is none.

    >>> parse_trace_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    ('0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331')
    """
    found = _PARENT.fullmatch(header.strip())
    return None if found is None else (found[1], found[2])
