"""Sums of usage and money over calls of every purpose, by what a bill is asked by. Scans."""

# ruff: noqa: S608 - what is pasted into SQL here are our own expressions; every value is bound

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from trimtab.storage.days import MS_PER_DAY
from trimtab.storage.ports import BillQuery, BillRow
from trimtab.types import NOT_BILLED, Attempt

_attempts = msgspec.msgpack.Decoder(tuple[Attempt, ...]).decode

_QUARTER_US = 900_000_000
_KEYS = {
    "day": "strftime('%Y-%m-%d', opened_us / 1000000, 'unixepoch')",
    "quarter": f"CAST(opened_us - opened_us % {_QUARTER_US} AS TEXT)",
    "project": "project",
    "key": "key",
    "user": "user",
    "route": "route",
    "model": "model",
    "provider": "provider",
    "served": "coalesce(nullif(model_served, ''), substr(model, instr(model, '/') + 1))",
}
_USED = "(closed_us IS NOT NULL AND (input_tokens > 0 OR output_tokens > 0))"
_SUMS = {
    "calls": "1",
    "requests": _USED,
    "unfinished": "closed_us IS NULL",
    "estimated": "estimated",
    "unpriced": f"({_USED} AND coalesce(price_version, '') = '')",
    # A first byte of 0x91 is an array of one: nearly all calls need no look at their attempts.
    "retried": "CASE WHEN attempts IS NULL OR substr(attempts, 1, 1) = x'91' THEN 0 ELSE given_up(attempts) END",
    "input_tokens": "input_tokens",
    "cached_tokens": "cached_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "output_tokens": "output_tokens",
    "cost_nusd": "cost_nusd",
    "reported": "{reported} IS NOT NULL",
    "reported_cost_nusd": "coalesce({reported}, 0)",
    "computed_nusd": "CASE WHEN {reported} IS NULL THEN 0 ELSE cost_nusd END",
}


def days(query: BillQuery) -> tuple[int, int]:
    """Return the first and last day that a query needs, in days since 1970."""
    us_per_day = MS_PER_DAY * 1000
    # A call stands at the time in its id, which may be a little off its opening.
    return query.since_us // us_per_day - 1, (query.until_us // us_per_day + 1 if query.until_us else 1 << 40)


def of_file(connection: apsw.Connection, query: BillQuery, reported: str) -> list[BillRow]:
    """Return a file's sums; `reported` is its column of costs that providers reported, or NULL."""
    connection.create_scalar_function("given_up", _given_up, 1, deterministic=True)
    keys = [_KEYS[name] for name in query.by]
    sums = [f"sum({text.format(reported=reported)})" for text in _SUMS.values()]
    where, values = ["opened_us >= ?", "opened_us < ?"], [query.since_us, query.until_us or 1 << 62]
    for name in ("project", "provider"):
        if getattr(query, name):
            where.append(f"{name} = ?")
            values.append(getattr(query, name))
    if query.upstream:
        where.append("coalesce(cache_hit, 0) = 0")
    group = f" GROUP BY {', '.join(str(at + 1) for at in range(len(keys)))}" if keys else ""
    rows = connection.execute(
        f"SELECT {', '.join([*keys, *sums])} FROM calls WHERE {' AND '.join(where)}{group}", values
    )
    return [
        BillRow(key=row[: len(keys)], **dict(zip(_SUMS, row[len(keys) :], strict=True)))
        for row in rows
        if row[len(keys)]
    ]


def together(parts: Iterable[list[BillRow]]) -> list[BillRow]:
    """Return the sums of several files added up, by key."""
    found: dict[tuple[str, ...], BillRow] = {}
    for row in (row for part in parts for row in part):
        before = found.get(row.key)
        found[row.key] = row if before is None else before.plus(row)
    return [found[key] for key in sorted(found)]


def _given_up(*values: Any) -> int:  # noqa: ANN401 - as SQLite calls it
    """Return how many attempts before the last one the provider may bill."""
    return sum(bool(a.error_code) and a.error_code not in NOT_BILLED for a in _attempts(values[0])[:-1])
