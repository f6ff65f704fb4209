"""Sums of usage and money over calls of every purpose, by what a bill is asked by. Scans."""

# ruff: noqa: S608 - what is pasted into SQL here are our own expressions; every value is bound

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import apsw
import msgspec

from trimtab.storage.days import MS_PER_DAY
from trimtab.storage.ports import BillQuery, BillRow
from trimtab.storage.sqlite.packed.names import Names
from trimtab.types import NOT_BILLED, Attempt

_attempts = msgspec.msgpack.Decoder(tuple[Attempt, ...]).decode

_QUARTER_US = 900_000_000
_KEYS = {
    "day": ("strftime('%Y-%m-%d', opened_us / 1000000, 'unixepoch')",),
    "quarter": (f"CAST(opened_us - opened_us % {_QUARTER_US} AS TEXT)",),
    "project": ("project",),
    "key": ("key",),
    "user": ("user",),
    "route": ("route",),
    "model": ("model",),
    "provider": ("provider",),
    "served": ("model_served", "model"),
}
"""What to group by. A text has one number in a file or none, so what is held groups as the texts would."""
_USED = "(closed_us IS NOT NULL AND (input_tokens > 0 OR output_tokens > 0))"
_SUMS = {
    "calls": "1",
    "requests": _USED,
    "unfinished": "closed_us IS NULL",
    "estimated": "closed_us IS NOT NULL AND estimated",
    "unpriced": f"({_USED} AND coalesce(price_version, '') = '')",
    # A first byte of 0x91 is an array of one: nearly all calls need no look at their attempts.
    "retried": "CASE WHEN attempts IS NULL OR substr(attempts, 1, 1) = x'91' THEN 0 ELSE given_up(attempts) END",
    "input_tokens": "input_tokens",
    "cached_tokens": "cached_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "output_tokens": "output_tokens",
    # A call without an end has what budgets held for it.
    "cost_nusd": "CASE WHEN closed_us IS NULL THEN 0 ELSE cost_nusd END",
    "reported": "reported_cost_nusd IS NOT NULL",
    "reported_cost_nusd": "coalesce(reported_cost_nusd, 0)",
    "computed_nusd": "CASE WHEN reported_cost_nusd IS NULL THEN 0 ELSE cost_nusd END",
}


def days(query: BillQuery) -> tuple[int, int]:
    """Return the first and last day that a query needs, in days since 1970."""
    us_per_day = MS_PER_DAY * 1000
    # A call stands at the time in its id, which may be a little off its opening.
    return query.since_us // us_per_day - 1, (query.until_us // us_per_day + 1 if query.until_us else 1 << 40)


def bill(query: BillQuery) -> Callable[[apsw.Connection, Names], list[BillRow]]:
    """Return what reads a file's sums; a key may occur several times."""
    return partial(_of_file, query)


def _of_file(query: BillQuery, connection: apsw.Connection, names: Names) -> list[BillRow]:
    connection.create_scalar_function("given_up", _given_up, 1, deterministic=True)
    keys = [column for name in query.by for column in _KEYS[name]]
    sums = [f"sum({text})" for text in _SUMS.values()]
    where = ["opened_us >= ?", "opened_us < ?"]
    values: list[int | str] = [query.since_us, query.until_us or 1 << 62]
    if query.project:
        where.append("project = ?")
        values.append(query.project)
    if query.provider:
        where.append("provider = ?")
        values.append(names.known(query.provider))
    if query.upstream:
        where.append("coalesce(cache_hit, 0) = 0")
    group = f" GROUP BY {', '.join(str(at + 1) for at in range(len(keys)))}" if keys else ""
    rows = connection.execute(
        f"SELECT {', '.join([*keys, *sums])} FROM calls WHERE {' AND '.join(where)}{group}", values
    )
    return [
        BillRow(
            key=_key(query, [names.value(held) or "" for held in row[: len(keys)]]),
            **dict(zip(_SUMS, row[len(keys) :], strict=True)),
        )
        for row in rows
        if row[len(keys)]
    ]


def _key(query: BillQuery, texts: list[str]) -> tuple[str, ...]:
    found = iter(texts)
    return tuple(_served(next(found), next(found)) if name == "served" else next(found) for name in query.by)


def _served(served: str, model: str) -> str:
    return served or model.partition("/")[2] or model


def together(parts: Iterable[list[BillRow]]) -> list[BillRow]:
    """Return the sums of several files added up, by key."""
    found: dict[tuple[str, ...], BillRow] = {}
    for row in (row for part in parts for row in part):
        before = found.get(row.key)
        found[row.key] = row if before is None else before.plus(row)
    return [found[key] for key in sorted(found)]


def _given_up(*values: Any) -> int:  # noqa: ANN401 - as SQLite calls it
    """Return how many attempts beside the one that ended the call the provider may bill."""
    *others, last = _attempts(values[0])
    if last.usage is not None:  # given up since another had answered
        others.append(last)
    return sum(bool(a.error_code) and a.error_code not in NOT_BILLED for a in others)
