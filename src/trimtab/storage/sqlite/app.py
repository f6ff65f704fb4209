"""The app store: one small file for what is configured at run time, synced on every commit."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from trimtab.storage.app_port import Move
from trimtab.types import Clock, KeySpec, Project, Release, RouteSpec, StorageError, WeightedRelease

from .connection import connect, create_file, make_folder, storage_errors, transaction
from .migrations import MIGRATIONS, migrate

_T = TypeVar("_T")


class SqliteAppStore:
    """What is configured, in `app.db`. A `storage.AppStore`; safe to share between threads."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._lock = threading.RLock()
        make_folder(path.parent)
        with storage_errors(path), contextlib.suppress(FileExistsError):
            create_file(path)
        self._connection = connect(path, formats=range(len(MIGRATIONS) + 1), synchronous="FULL")
        try:
            with storage_errors(path):
                self._connection.pragma("foreign_keys", 1)
            migrate(self._connection, path, MIGRATIONS, clock)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """See `AppStore.close`."""
        with self._lock, storage_errors(self._path):
            self._connection.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        with self._lock, storage_errors(self._path):
            yield self._connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        with self._reading() as connection, transaction(connection):
            yield connection

    # Projects

    def projects(self) -> list[Project]:
        """See `AppStore.projects`."""
        with self._reading() as connection:
            bodies = [row[0] for row in connection.execute("SELECT body FROM project ORDER BY name")]
        found = [self._decode(body, Project) for body in bodies]
        return found if any(p.name == "default" for p in found) else [Project(), *found]

    def put_project(self, project: Project) -> None:
        """See `AppStore.put_project`."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO project VALUES (?, ?)", (project.name, msgspec.json.encode(project))
            )

    # Keys

    def keys(self) -> list[KeySpec]:
        """See `AppStore.keys`."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, sha256, name, project, payload, created_us FROM key WHERE NOT revoked "
                "ORDER BY created_us, id"
            )
            return [
                KeySpec(
                    id=row[0], sha256=row[1], name=row[2], project=row[3], payload=row[4], created_us=row[5]
                )
                for row in rows
            ]

    def add_key(self, key: KeySpec) -> None:
        """See `AppStore.add_key`. The id and hash of a revoked key stay taken."""
        values = (key.id, key.sha256, key.name, key.project, key.payload, key.created_us)
        with self._writing() as connection:
            try:
                connection.execute(
                    "INSERT INTO key (id, sha256, name, project, payload, created_us) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    values,
                )
            except apsw.ConstraintError as error:
                raise StorageError(
                    f"a key with id {key.id!r}, or with the same hash, exists already (or did, and was "
                    "revoked); make a new key"
                ) from error

    def revoke_key(self, key_id: str) -> bool:
        """See `AppStore.revoke_key`. A key that is revoked already is none."""
        with self._writing() as connection:
            connection.execute("UPDATE key SET revoked = 1 WHERE id = ? AND NOT revoked", (key_id,))
            return connection.changes() > 0

    # Releases and routes

    def put_release(self, release: Release) -> str:
        """See `AppStore.put_release`."""
        release_id = release.id()
        with self._writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO release VALUES (?, ?)", (release_id, msgspec.json.encode(release))
            )
        return release_id

    def release(self, release_id: str) -> Release | None:
        """See `AppStore.release`."""
        with self._reading() as connection:
            body = connection.execute("SELECT body FROM release WHERE id = ?", (release_id,)).get
        return None if body is None else self._decode(body, Release)

    def routes(self) -> list[RouteSpec]:
        """See `AppStore.routes`."""
        routes: dict[tuple[str, str], dict[str, list[WeightedRelease]]] = {}
        with self._reading() as connection:
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

    def move(self, move: Move) -> None:
        """See `AppStore.move`."""
        with self._writing() as connection:
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

    def moves(self, project: str, route: str) -> list[Move]:
        """See `AppStore.moves`."""
        with self._reading() as connection:
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

    # The rest

    def setting(self, name: str) -> str | None:
        """See `AppStore.setting`."""
        with self._reading() as connection:
            value: str | None = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).get
            return value

    def put_setting(self, name: str, value: str) -> None:
        """See `AppStore.put_setting`."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    def next_generation(self) -> int:
        """See `AppStore.next_generation`."""
        with self._writing() as connection:
            return int(
                connection.execute(
                    "UPDATE counter SET value = value + 1 WHERE name = 'generation' RETURNING value"
                ).get
            )

    def _decode(self, body: bytes, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StorageError(
                f"{self._path} holds a damaged {kind.__name__}: {error}; restore a backup"
            ) from error


def _releases(connection: apsw.Connection, move: int) -> tuple[tuple[str, int], ...]:
    rows = connection.execute(
        "SELECT release, weight FROM move_release WHERE move = ? ORDER BY position", (move,)
    )
    return tuple((release, weight) for release, weight in rows)
