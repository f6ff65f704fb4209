"""Ids: UUIDv7, so that the order of ids is the order of time (RFC 9562, section 5.7)."""

import os
import re
import time

_RANDOM_BYTES = 4_000
"""Ten for each id."""

_FORM = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)


def new_id(unix_ms: int | None = None) -> str:
    """Return a new UUIDv7 as 36 lower-case characters.

    Args:
        unix_ms: milliseconds since 1970 to carry; the system clock's when omitted.
    """
    ms = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    h = f"{ms & 0xFFFFFFFFFFFF:012x}{os.urandom(10).hex()}"
    # Version 7 in the 13th digit; variant 0b10 in the 17th.
    return f"{h[:8]}-{h[8:12]}-7{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}"


_VARIANT = {d: "89ab"[int(d, 16) & 3] for d in "0123456789abcdef"}


class IdSource:
    """Makes ids like `new_id`, asking the system for random bytes once in 400 ids. For one thread's use."""

    __slots__ = ("_at", "_random")

    def __init__(self) -> None:
        self._random = ""
        self._at = 0

    def next(self) -> str:
        """Return a new UUIDv7 as 36 lower-case characters."""
        at = self._at
        if at >= len(self._random):
            self._random = os.urandom(_RANDOM_BYTES).hex()
            at = 0
        self._at = at + 20
        r = self._random[at : at + 20]
        h = f"{time.time_ns() // 1_000_000:012x}"
        return f"{h[:8]}-{h[8:]}-7{r[1:4]}-{_VARIANT[r[4]]}{r[5:8]}-{r[8:]}"


def id_time_us(call_id: str) -> int:
    """Return the time inside a UUIDv7 of 36 characters in either case, in microseconds since 1970 (ms resolution).

    Raises:
        ValueError: the text is no UUIDv7.
    """
    if _FORM.fullmatch(call_id) is None:
        raise ValueError(f"{call_id!r} is no UUIDv7; ids look like 0198f3c2-....-7...-8...-............")
    return int(call_id[:8] + call_id[9:13], 16) * 1000


def id_floor(unix_us: int) -> str:
    """Return the smallest UUIDv7 of that microsecond's millisecond: a bound for range queries."""
    h = f"{(unix_us // 1000) & 0xFFFFFFFFFFFF:012x}"
    return f"{h[:8]}-{h[8:12]}-7000-8000-000000000000"
