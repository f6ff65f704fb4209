"""Rollups: five small cubes, added to in the transaction that stores calls, and computable from the calls.

A call counts at the time inside its id. Only purpose `live` counts. A call without a prompt has no cell in
`hour_prompt`, one without a user none in `day_user`; every live call has one in the others. `sixhour_model` sums up
`hour_model`, so that a page over a month reads a sixth of the cells.
"""

# ruff: noqa: S608 - what is pasted into SQL here are our own names of columns; every value is bound

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apsw

from trimtab.stats import LogHistogram
from trimtab.storage.days import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, id_ms
from trimtab.storage.ports import Cube, RollupRow
from trimtab.types import Call

from .packed.names import Names
from .rows import state_of

CUBES: tuple[Cube, ...] = ("hour_model", "hour_prompt", "day_user", "minute_project", "sixhour_model")
"""A cube's place here is its number in the files."""

_KEY_PARTS: dict[Cube, int] = dict(zip(CUBES, (2, 3, 2, 1, 2), strict=True))

CellKey = tuple[int, int, str, str, str]
"""Cube number, start_us, and up to three parts of the key."""

_SUMS = ("calls", "errors", "unfinished", "estimated", "cost_nusd", "input_tokens", "output_tokens")
_COLUMNS = f"{', '.join(_SUMS)}, latency"
_USERS = CUBES.index("day_user")
_AT_KEY = "cube=? AND start_us=? AND k1=? AND k2=? AND k3=?"
FACTS = (
    "id, project, model, prompt_name, prompt_version, user, state, estimated, cost_nusd, input_tokens, "
    "output_tokens, opened_us, closed_us"
)
"""The columns of `calls` that `Facts` are made of."""


class Facts(NamedTuple):
    """What the rollups need to know of one call."""

    blob: bytes
    project: str
    model: str
    prompt_name: str
    prompt_version: int
    user: str
    state: str
    estimated: int
    cost_nusd: int
    input_tokens: int
    output_tokens: int
    opened_us: int
    closed_us: int | None


def facts_from(row: Sequence[Any], names: Names) -> Facts:
    """Return the facts of a row of the columns `FACTS`."""
    blob, project, model, prompt, *rest = row
    return Facts(blob, project, names.value(model) or "", names.value(prompt) or "", *rest)


def facts_of(call: Call, blob: bytes) -> Facts:
    """Return the facts of a call."""
    o, c = call.opened, call.closed
    who = (blob, o.project, (c.model if c else "") or o.model, o.prompt_name, o.prompt_version, o.user)
    if c is None:
        held = o.reserved_nusd
        return Facts(*who, state_of(call), int(held > 0), held, 0, 0, o.opened_us, None)
    u = c.usage
    return Facts(
        *who, c.state, u.estimated, c.cost_nusd, u.input_tokens, u.output_tokens, o.opened_us, c.closed_us
    )


class Cell:
    """The sums of one cell."""

    __slots__ = ("latency", "sums")

    def __init__(self, sums: Iterable[int] = (0,) * 7, latency: bytes = b"") -> None:
        self.sums = list(sums)
        self.latency = LogHistogram.unpack(latency)

    def add(self, other: "Cell") -> None:
        """Add another cell's sums."""
        self.sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]
        self.latency.merge(other.latency)

    def subtract(self, other: "Cell") -> None:
        """Take another cell's sums out; ValueError where they were never in."""
        self.sums = [a - b for a, b in zip(self.sums, other.sums, strict=True)]
        self.latency.subtract(other.latency)


class Tally:
    """Cells collected in memory, to be added to a file's rollups or to be read."""

    def __init__(self) -> None:
        self.cells: dict[CellKey, Cell] = {}

    def cell(self, key: CellKey) -> Cell:
        """Return the cell of a key, made empty where there is none yet."""
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell()
        return cell

    def add(self, facts: Facts, cube: int | None = None) -> None:
        """Count a call, in one cube or in all."""
        failed, open_ended = facts.state == "error", facts.state == "unfinished"
        sums = (1, failed, open_ended, facts.estimated, *facts[8:11])
        latency_ms = None
        if facts.closed_us is not None and not open_ended:
            latency_ms = (facts.closed_us - facts.opened_us) / 1000
        for key in _keys(facts):
            if cube is None or key[0] == cube:
                cell = self.cell(key)
                cell.sums = [a + b for a, b in zip(cell.sums, sums, strict=True)]
                if latency_ms is not None:
                    cell.latency.add(latency_ms)

    def take_back(self, facts: Facts) -> None:
        """Uncount an unfinished call, which has no latency."""
        for key in _keys(facts):
            cell = self.cell(key)
            cell.sums[0] -= 1
            cell.sums[2] -= 1
            cell.sums[3] -= facts.estimated
            cell.sums[4] -= facts.cost_nusd

    def write(self, connection: apsw.Connection) -> None:
        """Add the cells to a file's rollups, in the caller's transaction; a cell left without calls goes."""
        gone, kept = [], []
        for key, cell in self.cells.items():
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM rollup WHERE {_AT_KEY}",
                key,
            ).get
            if row is not None:
                cell.add(Cell(row[:7], row[7]))
            if cell.sums[0]:
                kept.append((*key, *cell.sums, cell.latency.pack()))
            else:
                gone.append(key)
        connection.executemany(
            f"INSERT OR REPLACE INTO rollup (cube, start_us, k1, k2, k3, {_COLUMNS}) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            kept,
        )
        connection.executemany(f"DELETE FROM rollup WHERE {_AT_KEY}", gone)

    def write_removed(self, connection: apsw.Connection) -> None:
        """Take the cells out of a file's rollups, in the caller's transaction; a cell left without calls goes.

        Raises:
            ValueError: the file's rollups never held these calls.
        """
        for key, cell in self.cells.items():
            row = connection.execute(f"SELECT {_COLUMNS} FROM rollup WHERE {_AT_KEY}", key).get
            if row is None:
                raise ValueError(f"the rollups have no cell {key!r}, and yet its calls are removed")
            left = Cell(row[:7], row[7])
            left.subtract(cell)
            if left.sums[0]:
                assignments = ", ".join(f"{name}=?" for name in (*_SUMS, "latency"))
                connection.execute(
                    f"UPDATE rollup SET {assignments} WHERE {_AT_KEY}",
                    (*left.sums, left.latency.pack(), *key),
                )
            else:
                connection.execute(f"DELETE FROM rollup WHERE {_AT_KEY}", key)

    def add_row(self, row: RollupRow) -> None:
        """Add a stored row."""
        sums = (row.calls, row.errors, row.unfinished, row.estimated, row.cost_nusd, row.input_tokens)
        k1, k2, k3 = (*row.key, "", "")[:3]
        key = (CUBES.index(row.cube), row.start_us, k1, k2, k3)
        self.cell(key).add(Cell((*sums, row.output_tokens), row.latency))

    def recount(self, connection: apsw.Connection, cube: Cube, names: Names) -> None:
        """Add what a file's calls themselves come to. Scans."""
        for row in connection.execute(f"SELECT {FACTS} FROM calls WHERE purpose='live'"):
            self.add(facts_from(row, names), CUBES.index(cube))

    def rows(self, since_us: int, until_us: int) -> Iterator[RollupRow]:
        """Yield the cells that start within the bounds, in the order of time, then of keys."""
        for key in sorted(self.cells):
            cell = self.cells[key]
            if cell.sums[0] and since_us <= key[1] < until_us:
                yield _row(CUBES[key[0]], (*key[1:], *cell.sums, cell.latency.pack()))


def read_rollup(connection: apsw.Connection, cube: Cube, since_us: int, until_us: int) -> list[RollupRow]:
    """Return a file's stored rows of a cube, in the order of time, then of keys: 1.5 µs each."""
    bound = (CUBES.index(cube), since_us, until_us)
    return _read(connection, cube, "cube=? AND start_us>=? AND start_us<?", bound)


def _read(connection: apsw.Connection, cube: Cube, where: str, bound: Sequence[Any]) -> list[RollupRow]:
    rows = connection.execute(
        f"SELECT start_us, k1, k2, k3, {_COLUMNS} FROM rollup WHERE {where} ORDER BY start_us, k1, k2, k3",
        bound,
    )
    return [_row(cube, row) for row in rows]


class Users(NamedTuple):
    """Which rows of `day_user` are meant: days from the first bound on, before the second, of one project or of all."""

    since_us: int
    until_us: int
    project: str

    def groups(self, connection: apsw.Connection) -> Iterator[tuple[int, str]]:
        """Yield each (start of a day, project) of a file, by one look at the index each."""
        at: tuple[int, str] = (self.since_us, "")
        after = (
            "SELECT start_us, k1 FROM rollup WHERE cube=? AND (start_us, k1) > (?, ?) AND start_us<? LIMIT 1"
        )
        while (at := connection.execute(after, (_USERS, *at, self.until_us)).get) is not None:
            if self.project in ("", at[1]):
                yield at


Reading = Callable[[apsw.Connection, Names], Any]


def top_users(ask: Callable[[Reading], Iterable[Any]], users: Users, most: int) -> list[RollupRow]:
    """Return the rows of the users with most calls in all files together, by name where they are equal.

    Args:
        ask: calls a function with each file's connection, and returns what those return.
        users: whose rows count.
        most: how many users.
    """
    calls: dict[str, int] = {}
    find = calls.get

    def add(connection: apsw.Connection, _: Names) -> None:
        for group in users.groups(connection):
            counts = "SELECT k2, calls FROM rollup WHERE cube=? AND start_us=? AND k1=?"
            for name, number in connection.execute(counts, (_USERS, *group)):
                calls[name] = find(name, 0) + number

    ask(add)
    names = heapq.nsmallest(most, calls, key=lambda name: (-calls[name], name))
    theirs = f"cube=? AND start_us=? AND k1=? AND k2 IN ({', '.join('?' * len(names))})"

    def read(connection: apsw.Connection, _: Names) -> list[RollupRow]:
        groups = [(_USERS, *group, *names) for group in users.groups(connection)]
        return [row for bound in groups for row in _read(connection, "day_user", theirs, bound)]

    return list(itertools.chain.from_iterable(ask(read)))


def added(rows: Iterable[RollupRow]) -> Iterator[RollupRow]:
    """Add up rows of the same cell, as the files of one day have parts of it."""
    tally = Tally()
    for row in rows:
        tally.add_row(row)
    return tally.rows(0, 1 << 62)


def _row(cube: Cube, values: tuple[Any, ...]) -> RollupRow:
    """Return the row of (start, three parts of the key, the sums, the latency)."""
    return RollupRow(
        cube=cube,
        start_us=values[0],
        key=values[1 : 1 + _KEY_PARTS[cube]],
        calls=values[4],
        errors=values[5],
        unfinished=values[6],
        estimated=values[7],
        cost_nusd=values[8],
        input_tokens=values[9],
        output_tokens=values[10],
        latency=values[11],
    )


def _keys(facts: Facts) -> Iterator[CellKey]:
    ms = id_ms(facts.blob)
    hour_us = (ms - ms % MS_PER_HOUR) * 1000
    yield 0, hour_us, facts.project, facts.model, ""
    if facts.prompt_name:
        yield 1, hour_us, facts.project, facts.prompt_name, str(facts.prompt_version)
    if facts.user:
        yield 2, (ms - ms % MS_PER_DAY) * 1000, facts.project, facts.user, ""
    yield 3, (ms - ms % MS_PER_MINUTE) * 1000, facts.project, "", ""
    yield 4, (ms - ms % (6 * MS_PER_HOUR)) * 1000, facts.project, facts.model, ""
