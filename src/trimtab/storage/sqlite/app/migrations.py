"""Schema versions of `app.db`: named steps, each in its own transaction, a backup before the first."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import apsw

from trimtab.storage.sqlite.connection import check_format, create_file, storage_errors, transaction
from trimtab.types import Clock, StorageError

from .alerts import add_alerts


class Migration(NamedTuple):
    """One step from a schema version to the next; the version is its place in the list, counted from 1."""

    name: str
    apply: Callable[[apsw.Connection], None]


def migrate(connection: apsw.Connection, path: Path, steps: Sequence[Migration], clock: Clock) -> Path | None:
    """Bring a database to the newest version; return the backup made before, None where none was needed.

    Raises:
        FormatTooNew: the database is of a version beyond the list.
        StorageError: a step failed; the database stands at the version before it, and the backup is named.
    """
    with storage_errors(path):
        version = check_format(connection, path, range(len(steps) + 1))
        if version == len(steps):
            return None
        backup = _back_up(connection, path, version, clock) if version else None
    for number, step in enumerate(steps[version:], start=version + 1):
        try:
            with transaction(connection):
                step.apply(connection)
                connection.pragma("user_version", number)
        except (apsw.Error, StorageError) as error:
            raise StorageError(
                f"{path}: migration {number} ({step.name}) failed: {error}. The file stands at version "
                f"{number - 1}; "
                + (f"a backup from before is {backup}." if backup else "it was new and holds nothing.")
            ) from error
    return backup


def _back_up(connection: apsw.Connection, path: Path, version: int, clock: Clock) -> Path:
    stamp = datetime.fromtimestamp(clock.now_us() // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    for attempt in range(1, 100):
        backup = path.with_name(f"{path.name}.bak-{version}-{stamp}" + (f"-{attempt}" if attempt > 1 else ""))
        try:
            create_file(backup)
        except FileExistsError:
            continue
        connection.execute("VACUUM INTO ?", (str(backup),))
        return backup
    raise StorageError(f"{path} has 99 backups of this very second; move some away")


def create_tables(connection: apsw.Connection) -> None:
    """Version 1: projects, keys, releases, routes with their moves, settings, the generation."""
    connection.execute(
        """
        CREATE TABLE project (name TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE key (
            id TEXT NOT NULL PRIMARY KEY,
            sha256 TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            project TEXT NOT NULL,
            payload TEXT,
            created_us INTEGER NOT NULL,
            revoked INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID;
        CREATE TABLE release (id TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE move (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            at_us INTEGER NOT NULL,
            project TEXT NOT NULL,
            route TEXT NOT NULL,
            channel TEXT NOT NULL,
            author TEXT NOT NULL,
            reason TEXT NOT NULL
        );
        CREATE INDEX move_route ON move (project, route, channel);
        CREATE TABLE move_release (
            move INTEGER NOT NULL REFERENCES move (number),
            position INTEGER NOT NULL,
            release TEXT NOT NULL REFERENCES release (id),
            weight INTEGER NOT NULL,
            PRIMARY KEY (move, position)
        ) WITHOUT ROWID;
        CREATE TABLE channel (
            project TEXT NOT NULL,
            route TEXT NOT NULL,
            name TEXT NOT NULL,
            move INTEGER NOT NULL REFERENCES move (number),
            PRIMARY KEY (project, route, name)
        ) WITHOUT ROWID;
        CREATE TABLE setting (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE counter (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO counter VALUES ('generation', 0);
        """
    )


def add_people(connection: apsw.Connection) -> None:
    """Version 2: users, sign-ins, the audit log, views, providers, and the settings' history."""
    connection.execute(
        """
        CREATE TABLE user (
            folded TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            role TEXT NOT NULL,
            password TEXT NOT NULL,
            created_us INTEGER NOT NULL,
            disabled INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE login (
            sha256 TEXT NOT NULL PRIMARY KEY,
            folded TEXT NOT NULL,
            role TEXT NOT NULL,
            created_us INTEGER NOT NULL,
            expires_us INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX login_user ON login (folded);
        CREATE TABLE audit (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            at_us INTEGER NOT NULL,
            actor TEXT NOT NULL,
            role TEXT NOT NULL,
            action TEXT NOT NULL,
            object TEXT NOT NULL,
            detail BLOB NOT NULL,
            outcome TEXT NOT NULL,
            address TEXT NOT NULL
        );
        CREATE INDEX audit_actor ON audit (actor);
        CREATE INDEX audit_object ON audit (object);
        CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
        CREATE TRIGGER audit_never_shrinks BEFORE DELETE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
        CREATE TABLE view (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            owner TEXT NOT NULL,
            query TEXT NOT NULL,
            created_us INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE provider (name TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE setting_change (
            number INTEGER PRIMARY KEY,
            at_us INTEGER NOT NULL,
            actor TEXT NOT NULL,
            name TEXT NOT NULL,
            before TEXT NOT NULL,
            after TEXT NOT NULL
        );
        CREATE TRIGGER setting_change_never_changes BEFORE UPDATE ON setting_change
            BEGIN SELECT RAISE(ABORT, 'the history of settings is append-only'); END;
        CREATE TRIGGER setting_change_never_shrinks BEFORE DELETE ON setting_change
            BEGIN SELECT RAISE(ABORT, 'the history of settings is append-only'); END;
        """
    )


def add_rules(connection: apsw.Connection) -> None:
    """Version 3: limits and budgets."""
    connection.execute(
        "CREATE TABLE rule (kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, name)) "
        "WITHOUT ROWID"
    )


def add_cache(connection: apsw.Connection) -> None:
    """Version 5: how long replies may be given again to a key's holder."""
    connection.execute("ALTER TABLE key ADD COLUMN cache_ttl_s REAL")


MIGRATIONS: tuple[Migration, ...] = (
    Migration("create tables", create_tables),
    Migration("add people, views and providers", add_people),
    Migration("add limits and budgets", add_rules),
    Migration("add alerts", add_alerts),
    Migration("add keys' cache", add_cache),
)
"""All steps so far. A released one is never changed: what it made stands in users' files."""
