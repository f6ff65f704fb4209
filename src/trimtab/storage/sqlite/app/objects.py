"""Projects, keys, providers, settings and saved views, as rows of `app.db`.

Each function works on the connection it is given, inside the caller's lock and, where it writes, transaction.
"""

from typing import Any, TypeVar

import apsw
import msgspec

from trimtab.types import (
    BudgetSpec,
    KeySpec,
    LimitSpec,
    Project,
    SavedView,
    SettingChange,
    StorageError,
    StoredProvider,
)

_T = TypeVar("_T")
_Rule = TypeVar("_Rule", LimitSpec, BudgetSpec)


def decode(connection: apsw.Connection, body: bytes, kind: type[_T]) -> _T:
    """Return the object of a stored JSON body.

    Raises:
        StorageError: it is damaged.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{connection.filename} holds a damaged {kind.__name__}: {error}; restore a backup"
        ) from error


# Projects


def projects(connection: apsw.Connection) -> list[Project]:
    """Return all projects by name; `default` comes first where nothing of it is stored."""
    rows = connection.execute("SELECT body FROM project ORDER BY name")
    found = [decode(connection, row[0], Project) for row in rows]
    return found if any(p.name == "default" for p in found) else [Project(), *found]


def put_project(connection: apsw.Connection, project: Project) -> None:
    """Create or replace a project."""
    connection.execute(
        "INSERT OR REPLACE INTO project VALUES (?, ?)", (project.name, msgspec.json.encode(project))
    )


def remove_project(connection: apsw.Connection, name: str) -> bool:
    """Remove a project, revoke its keys and end its channels; False where there is none, or for `default`."""
    if name == "default":
        return False
    connection.execute("DELETE FROM project WHERE name = ?", (name,))
    if not connection.changes():
        return False
    connection.execute("UPDATE key SET revoked = 1 WHERE project = ?", (name,))
    connection.execute("DELETE FROM channel WHERE project = ?", (name,))
    return True


# Keys


def keys(connection: apsw.Connection) -> list[KeySpec]:
    """Return all keys that are not revoked, oldest first."""
    rows = connection.execute(
        "SELECT id, sha256, name, project, payload, created_us, cache_ttl_s FROM key WHERE NOT revoked "
        "ORDER BY created_us, id"
    )
    return [
        KeySpec(
            id=row[0],
            sha256=row[1],
            name=row[2],
            project=row[3],
            payload=row[4],
            created_us=row[5],
            cache_ttl_s=row[6],
        )
        for row in rows
    ]


def add_key(connection: apsw.Connection, key: KeySpec) -> None:
    """Store a key; the id and hash of a revoked one stay taken."""
    try:
        connection.execute(
            "INSERT INTO key (id, sha256, name, project, payload, created_us, cache_ttl_s) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key.id, key.sha256, key.name, key.project, key.payload, key.created_us, key.cache_ttl_s),
        )
    except apsw.ConstraintError as error:
        raise StorageError(
            f"a key with id {key.id!r}, or with the same hash, exists already (or did, and was "
            "revoked); make a new key"
        ) from error


def revoke_key(connection: apsw.Connection, key_id: str) -> bool:
    """Revoke a key; False where there is none of that id that is valid."""
    connection.execute("UPDATE key SET revoked = 1 WHERE id = ? AND NOT revoked", (key_id,))
    return connection.changes() > 0


# Providers


def providers(connection: apsw.Connection) -> list[StoredProvider]:
    """Return the providers added at run time, by name."""
    rows = connection.execute("SELECT body FROM provider ORDER BY name")
    return [decode(connection, row[0], StoredProvider) for row in rows]


def put_provider(connection: apsw.Connection, provider: StoredProvider) -> None:
    """Create or replace a provider."""
    connection.execute(
        "INSERT OR REPLACE INTO provider VALUES (?, ?)", (provider.spec.name, msgspec.json.encode(provider))
    )


def remove_provider(connection: apsw.Connection, name: str) -> bool:
    """Remove a provider; False where there is none of that name."""
    connection.execute("DELETE FROM provider WHERE name = ?", (name,))
    return connection.changes() > 0


# Limits and budgets

_KINDS: dict[type, str] = {LimitSpec: "limit", BudgetSpec: "budget"}


def rules(connection: apsw.Connection, kind: type[_Rule]) -> list[_Rule]:
    """Return the limits, or the budgets, added at run time, by name."""
    rows = connection.execute("SELECT body FROM rule WHERE kind = ? ORDER BY name", (_KINDS[kind],))
    return [decode(connection, row[0], kind) for row in rows]


def put_rule(connection: apsw.Connection, rule: LimitSpec | BudgetSpec) -> None:
    """Create or replace a limit or a budget."""
    connection.execute(
        "INSERT OR REPLACE INTO rule VALUES (?, ?, ?)",
        (_KINDS[type(rule)], rule.name, msgspec.json.encode(rule)),
    )


def remove_rule(connection: apsw.Connection, kind: type[LimitSpec] | type[BudgetSpec], name: str) -> bool:
    """Remove a limit or a budget; False where there is none of that name."""
    connection.execute("DELETE FROM rule WHERE kind = ? AND name = ?", (_KINDS[kind], name))
    return connection.changes() > 0


# Settings


def settings(connection: apsw.Connection) -> dict[str, str]:
    """Return all stored settings, by name."""
    rows: list[Any] = connection.execute("SELECT name, value FROM setting ORDER BY name").fetchall()
    return dict(rows)


def setting(connection: apsw.Connection, name: str) -> str | None:
    """Return a stored setting, or None."""
    value: str | None = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).get
    return value


def put_setting(connection: apsw.Connection, name: str, value: str) -> None:
    """Store a setting."""
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))


def change_setting(connection: apsw.Connection, change: SettingChange) -> None:
    """Store a setting, or remove it where `after` is empty, with an entry of its history."""
    if change.after:
        put_setting(connection, change.name, change.after)
    else:
        connection.execute("DELETE FROM setting WHERE name = ?", (change.name,))
    connection.execute(
        "INSERT INTO setting_change (at_us, actor, name, before, after) VALUES (?, ?, ?, ?, ?)",
        (change.at_us, change.actor, change.name, change.before, change.after),
    )


def setting_changes(connection: apsw.Connection, limit: int) -> list[SettingChange]:
    """Return the settings' history, newest first."""
    rows = connection.execute(
        "SELECT at_us, actor, name, before, after FROM setting_change ORDER BY number DESC LIMIT ?",
        (max(limit, 0),),
    )
    return [
        SettingChange(at_us=row[0], actor=row[1], name=row[2], before=row[3], after=row[4]) for row in rows
    ]


# Views


def views(connection: apsw.Connection) -> list[SavedView]:
    """Return all saved views, by name."""
    rows = connection.execute("SELECT id, name, owner, query, created_us FROM view ORDER BY name, id")
    return [SavedView(id=row[0], name=row[1], owner=row[2], query=row[3], created_us=row[4]) for row in rows]


def put_view(connection: apsw.Connection, view: SavedView) -> None:
    """Create or replace a view."""
    connection.execute(
        "INSERT OR REPLACE INTO view (id, name, owner, query, created_us) VALUES (?, ?, ?, ?, ?)",
        (view.id, view.name, view.owner, view.query, view.created_us),
    )


def remove_view(connection: apsw.Connection, view_id: str) -> bool:
    """Remove a view; False where there is none of that id."""
    connection.execute("DELETE FROM view WHERE id = ?", (view_id,))
    return connection.changes() > 0
