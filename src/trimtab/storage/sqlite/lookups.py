"""Finding a call by its provider's id, and the newest calls that stand in a session."""

# ruff: noqa: S608 - what is pasted into SQL here are our own names of columns; every value is bound

import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import apsw

from trimtab.storage.days import id_text
from trimtab.storage.ports import SessionRow

LOOKED_AT = 5000
"""Calls that `sessions` looks at in one go."""

ROUNDS = 4
"""Times that it does so for one page: where a few sessions have thousands of calls each, more must be looked at."""


def find_response(connection: apsw.Connection, response_id: str) -> bytes | None:
    """Return the id of the file's newest call with a provider's response id, or None."""
    found: bytes | None = connection.execute(
        "SELECT id FROM calls INDEXED BY calls_response WHERE substr(provider_response_id, -8) = ?1 "
        "AND provider_response_id <> '' AND provider_response_id = ?2 ORDER BY place DESC LIMIT 1",
        (response_id[-8:], response_id),
    ).get
    return found


class InSession(NamedTuple):
    """What `sessions` needs to know of a call; sorts by id."""

    blob: bytes
    project: str
    user: str
    session: str
    state: str
    cost_nusd: int
    opened_us: int


_COLUMNS = ", ".join(("place", "id", *InSession._fields[1:]))


def newest_in_session(connection: apsw.Connection, project: str, before: bytes | None) -> list[InSession]:
    """Return the file's newest calls that have a session, of one project or of all, newest first."""
    where = f"session <> ''{' AND id < ?' if before else ''}"
    values: tuple[Any, ...] = (before,) if before else ()
    projects = [project] if project else _projects(connection)
    lists = [_rows(connection, f"project = ? AND {where}", (name, *values)) for name in projects]
    merged = heapq.merge(*lists, key=lambda row: row[0], reverse=True)
    found = [InSession(*row[1:]) for row, _ in zip(merged, range(LOOKED_AT), strict=False)]
    return sorted(found, reverse=True)


def _rows(connection: apsw.Connection, where: str, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Return matching calls, each read only when it is asked for: of ten projects most are not needed."""
    rows: Iterator[tuple[Any, ...]] = connection.execute(
        f"SELECT {_COLUMNS} FROM calls INDEXED BY calls_in_session WHERE {where} "
        f"ORDER BY place DESC LIMIT {LOOKED_AT}",
        values,
    )
    return rows


def _projects(connection: apsw.Connection) -> Iterator[str]:
    """Yield the projects that have calls in sessions, by one step in the index each."""
    last = ""
    while True:
        last = connection.execute(
            "SELECT min(project) FROM calls INDEXED BY calls_in_session WHERE session <> '' AND project > ?",
            (last,),
        ).get
        if last is None:
            return
        yield last


def goes_on(connection: apsw.Connection, row: SessionRow, before: bytes) -> bool:
    """Tell whether a session has a call in this file that is not older than `before`."""
    found = connection.execute(
        "SELECT 1 FROM calls INDEXED BY calls_session "
        "WHERE session = ? AND session <> '' AND project = ? AND id >= ? LIMIT 1",
        (row.session, row.project, before),
    ).get
    return found is not None


def sessions_page(
    newest: Callable[[bytes | None], list[InSession]],
    stood_before: Callable[[SessionRow], bool],
    before: bytes | None,
    limit: int,
) -> list[SessionRow]:
    """Return the sessions of the newest calls before one, newest first; fewer than `limit` where there are no more.

    Args:
        newest: the newest calls before a call's id, newest first.
        stood_before: whether a session stood on an earlier page.
        before: the last page's last call.
        limit: sessions at most.
    """
    calls: list[InSession] = []
    rows: list[SessionRow] = []
    for _ in range(ROUNDS):
        found = newest(calls[-1].blob if calls else before)
        calls += found
        fresh = (row for row in session_rows(calls) if not stood_before(row))
        rows = list(islice(fresh, limit))
        if len(rows) == limit or len(found) < LOOKED_AT:
            break
    return rows


def session_rows(calls: list[InSession]) -> Iterator[SessionRow]:
    """Yield the sessions of some calls, newest first, given the calls newest first."""
    sessions: dict[tuple[str, str], list[InSession]] = {}
    for call in calls:
        sessions.setdefault((call.project, call.session), []).append(call)
    for (project, session), members in sessions.items():
        yield SessionRow(
            session=session,
            project=project,
            user=next((call.user for call in members if call.user), ""),
            calls=len(members),
            errors=sum(call.state == "error" for call in members),
            cost_nusd=sum(call.cost_nusd for call in members),
            first_us=min(call.opened_us for call in members),
            last_us=max(call.opened_us for call in members),
            last_call=id_text(members[0].blob),
        )
