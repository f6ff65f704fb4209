"""Releases, and the routes that point at them with their history, as rows of `app.db`.

Each function works on the connection it is given, inside the caller's lock and, where it writes, transaction.
"""

from typing import Any

import apsw
import msgspec

from trimtab.storage.app_port import Move
from trimtab.types import Release, RouteSpec, StorageError, WeightedRelease

from .objects import decode


def put_release(connection: apsw.Connection, release: Release) -> str:
    """Store a release under its content id and return the id."""
    release_id = release.id()
    connection.execute(
        "INSERT OR IGNORE INTO release VALUES (?, ?)", (release_id, msgspec.json.encode(release))
    )
    return release_id


def release(connection: apsw.Connection, release_id: str) -> Release | None:
    """Return a release, or None."""
    body = connection.execute("SELECT body FROM release WHERE id = ?", (release_id,)).get
    return None if body is None else decode(connection, body, Release)


def routes(connection: apsw.Connection) -> list[RouteSpec]:
    """Return the routes as they point now."""
    routes: dict[tuple[str, str], dict[str, list[WeightedRelease]]] = {}
    rows = connection.execute(
        "SELECT c.project, c.route, c.name, r.release, r.weight FROM channel AS c "
        "JOIN move_release AS r USING (move) ORDER BY c.project, c.route, c.name, r.position"
    )
    for project, route, channel, release, weight in rows:
        channels = routes.setdefault((project, route), {})
        channels.setdefault(channel, []).append(WeightedRelease(release=release, weight=weight))
    return [
        RouteSpec(
            name=route, project=project, channels={name: tuple(given) for name, given in channels.items()}
        )
        for (project, route), channels in routes.items()
    ]


def move(connection: apsw.Connection, move: Move) -> None:
    """Append a move and make it current."""
    for release_id, _ in move.releases:
        if connection.execute("SELECT 1 FROM release WHERE id = ?", (release_id,)).get is None:
            raise StorageError(
                f"route {move.route!r} cannot move to release {release_id!r}, which is not stored; "
                "put it first"
            )
    try:
        number = connection.execute(
            "INSERT INTO move (id, at_us, project, route, channel, author, reason) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING number",
            (move.id, move.at_us, move.project, move.route, move.channel, move.author, move.reason),
        ).get
    except apsw.ConstraintError as error:
        raise StorageError(f"a move with id {move.id!r} exists already; use types.new_id") from error
    connection.executemany(
        "INSERT INTO move_release VALUES (?, ?, ?, ?)",
        [(number, i, release_id, weight) for i, (release_id, weight) in enumerate(move.releases)],
    )
    connection.execute(
        "INSERT OR REPLACE INTO channel VALUES (?, ?, ?, ?)",
        (move.project, move.route, move.channel, number),
    )


def moves(connection: apsw.Connection, project: str, route: str) -> list[Move]:
    """Return a route's history, oldest first."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT number, id, at_us, channel, author, reason FROM move WHERE project = ? AND route = ? "
        "ORDER BY number",
        (project, route),
    ).fetchall()
    return [
        Move(
            id=row[1],
            at_us=row[2],
            project=project,
            route=route,
            channel=row[3],
            releases=_releases(connection, row[0]),
            author=row[4],
            reason=row[5],
        )
        for row in rows
    ]


def _releases(connection: apsw.Connection, move: int) -> tuple[tuple[str, int], ...]:
    rows = connection.execute(
        "SELECT release, weight FROM move_release WHERE move = ? ORDER BY position", (move,)
    )
    return tuple((release, weight) for release, weight in rows)
