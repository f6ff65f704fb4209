"""Deleting a user's, a session's or a project's calls from a day file, with all that hangs on them."""

# ruff: noqa: S608 - what is pasted into SQL here are our own names of columns; every value is bound

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apsw

from trimtab.storage.ports import Erasure
from trimtab.types import parse_trace_parent

from .connection import transaction
from .packed.blocks import Payloads
from .packed.names import Names
from .rollups import FACTS, Tally, facts_from
from .spans import forget_calls
from .upkeep import note_deletion

_BATCH = 2000
"""Calls deleted in one transaction."""


class Condition(NamedTuple):
    """Part of a WHERE clause, and its values."""

    sql: str
    values: tuple[str, ...]


def calls_of(what: Erasure) -> Condition:
    """Return which calls an erasure means."""
    return _equal({name: getattr(what, name) for name in ("session", "user", "project")})


def feedback_of(what: Erasure) -> Condition | None:
    """Return which feedback an erasure means, whosever calls it is on; None where it names a session.

    Feedback knows no session; that on the session's own calls goes with them.
    """
    return None if what.session else _equal({"user": what.user, "project": what.project})


def _equal(wanted: dict[str, str]) -> Condition:
    given = {name: value for name, value in wanted.items() if value}
    # The second term proves to SQLite that a partial index holds every match.
    return Condition(" AND ".join(f"{name} = ? AND {name} <> ''" for name in given), tuple(given.values()))


def erase_calls(
    connection: apsw.Connection, condition: Condition, names: Names, payloads: Payloads
) -> Iterator[bytes]:
    """Delete matching calls, some in each transaction; yield the ids of those that are gone."""
    while True:
        with transaction(connection):
            rows: list[Any] = connection.execute(
                f"SELECT place, doc, purpose, {FACTS} FROM calls WHERE {condition.sql} LIMIT {_BATCH}",
                condition.values,
            ).fetchall()
            if not rows:
                return
            payloads.drop([row[1] for row in rows])
            _delete(connection, [(row[0],) for row in rows], [(row[1],) for row in rows])
            ids = [row[3] for row in rows]
            _delete_feedback(connection, ids)
            tally = Tally()
            for row in rows:
                if row[2] == "live":
                    tally.add(facts_from(row[3:], names))
            tally.write_removed(connection)
            note_deletion(connection)
        yield from ids


def traces_of(connection: apsw.Connection, condition: Condition) -> set[bytes]:
    """Return the traces that matching calls were made in."""
    rows = connection.execute(
        f"SELECT DISTINCT trace_parent FROM calls WHERE {condition.sql} AND trace_parent <> ''",
        condition.values,
    )
    parsed = (parse_trace_parent(trace_parent) for (trace_parent,) in rows)
    return {bytes.fromhex(found[0]) for found in parsed if found is not None}


def erase_feedback(
    connection: apsw.Connection, on_calls: Iterable[bytes], condition: Condition | None
) -> None:
    """Delete feedback on some calls, and what matches a condition, in one transaction."""
    with transaction(connection):
        before = connection.total_changes()
        _delete_feedback(connection, on_calls)
        if condition is not None:
            connection.execute(f"DELETE FROM feedback WHERE {condition.sql}", condition.values)
        if connection.total_changes() > before:
            note_deletion(connection)


def _delete(connection: apsw.Connection, places: list[tuple[int]], docs: list[tuple[int]]) -> None:
    run = connection.executemany
    tags: list[Any] = run("SELECT tags, place FROM calls WHERE place = ? AND tags <> ''", places).fetchall()
    traced: list[Any] = run(
        "SELECT trace_parent, id FROM calls WHERE place = ? AND trace_parent <> ''", places
    ).fetchall()
    forget_calls(connection, traced)
    run("DELETE FROM tag WHERE name IN (SELECT value FROM json_each(?)) AND place = ?", tags)
    run("DELETE FROM words WHERE rowid = ?", docs)
    run("DELETE FROM pending WHERE doc = ?", docs)
    run("DELETE FROM calls WHERE place = ?", places)


def _delete_feedback(connection: apsw.Connection, ids: Iterable[bytes]) -> None:
    connection.executemany("DELETE FROM feedback WHERE call_id = ?", ((blob,) for blob in ids))
