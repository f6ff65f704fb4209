"""Users, sign-ins and the audit log, as rows of `app.db`.

Each function works on the connection it is given, inside the caller's lock and, where it writes, transaction.
A user is found by the name's case-folded form, which is the key of the tables.
"""

from typing import Any

import apsw
import msgspec

from trimtab.types import AuditEntry, LoginSession, StorageError, User

_USER = "SELECT name, role, password, created_us, disabled FROM user"
_AUDIT = "SELECT id, at_us, actor, role, action, object, detail, outcome, address FROM audit"
_detail = msgspec.json.Decoder(dict[str, Any]).decode


def users(connection: apsw.Connection) -> list[User]:
    """Return all users, by name."""
    return [_user(row) for row in connection.execute(f"{_USER} ORDER BY folded")]


def user(connection: apsw.Connection, name: str) -> User | None:
    """Return a user by name, whatever its case; or None."""
    row = connection.execute(f"{_USER} WHERE folded = ?", (name.casefold(),)).fetchone()
    return None if row is None else _user(row)


def _user(row: tuple[Any, ...]) -> User:
    return User(name=row[0], role=row[1], password=row[2], created_us=row[3], disabled=bool(row[4]))


def put_user(connection: apsw.Connection, user: User) -> None:
    """Create or replace a user; one whose name differs by case only is the same."""
    connection.execute(
        "INSERT INTO user (folded, name, role, password, created_us, disabled) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET (name, role, password, created_us, disabled) = "
        "(excluded.name, excluded.role, excluded.password, excluded.created_us, excluded.disabled)",
        (user.name.casefold(), user.name, user.role, user.password, user.created_us, user.disabled),
    )


def remove_user(connection: apsw.Connection, name: str) -> bool:
    """Remove a user with all sign-ins; False where there is none of that name."""
    end_logins_of(connection, name)
    connection.execute("DELETE FROM user WHERE folded = ?", (name.casefold(),))
    return connection.changes() > 0


def add_login(connection: apsw.Connection, login: LoginSession) -> None:
    """Store a sign-in, and drop those that had expired when it was made."""
    connection.execute("DELETE FROM login WHERE expires_us <= ?", (login.created_us,))
    try:
        connection.execute(
            "INSERT INTO login (sha256, folded, role, created_us, expires_us) VALUES (?, ?, ?, ?, ?)",
            (login.sha256, login.user.casefold(), login.role, login.created_us, login.expires_us),
        )
    except apsw.ConstraintError as error:
        raise StorageError("a sign-in with this token exists already; make a new token") from error


def login(connection: apsw.Connection, sha256: str, now_us: int) -> LoginSession | None:
    """Return a sign-in in force, with its user's present name and role; or None."""
    row = connection.execute(
        "SELECT u.name, u.role, l.created_us, l.expires_us FROM login AS l JOIN user AS u USING (folded) "
        "WHERE l.sha256 = ? AND l.expires_us > ? AND NOT u.disabled",
        (sha256, now_us),
    ).fetchone()
    if row is None:
        return None
    return LoginSession(sha256=sha256, user=row[0], role=row[1], created_us=row[2], expires_us=row[3])


def end_login(connection: apsw.Connection, sha256: str) -> None:
    """Remove a sign-in."""
    connection.execute("DELETE FROM login WHERE sha256 = ?", (sha256,))


def end_logins_of(connection: apsw.Connection, name: str) -> int:
    """Remove all sign-ins of a user; return how many."""
    connection.execute("DELETE FROM login WHERE folded = ?", (name.casefold(),))
    return connection.changes()


def add_audit(connection: apsw.Connection, entry: AuditEntry) -> None:
    """Append an entry."""
    try:
        connection.execute(
            "INSERT INTO audit (id, at_us, actor, role, action, object, detail, outcome, address) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.id,
                entry.at_us,
                entry.actor,
                entry.role,
                entry.action,
                entry.object,
                msgspec.json.encode(entry.detail),
                entry.outcome,
                entry.address,
            ),
        )
    except apsw.ConstraintError as error:
        raise StorageError(f"an audit entry with id {entry.id!r} exists already; use types.new_id") from error


def audit(
    connection: apsw.Connection, equal: dict[str, str], action: str, before: str, limit: int
) -> list[AuditEntry]:
    """Return entries, newest first.

    Args:
        connection: of `app.db`.
        equal: columns and what they must be; empty values do not filter.
        action: exact, or a noun with its dot.
        before: id of the entry that ended the last page; one that is not stored gives nothing.
        limit: how many at most.
    """
    where = [f"{column} = ?" for column, value in equal.items() if value]
    values: list[Any] = [value for value in equal.values() if value]
    if action.endswith("."):
        where.append("action >= ? AND action < ?")
        values += [action, action[:-1] + "/"]  # '/' follows '.' in ASCII
    elif action:
        where.append("action = ?")
        values.append(action)
    if before:
        where.append("number < (SELECT number FROM audit WHERE id = ?)")
        values.append(before)
    condition = " AND ".join(where) or "1"
    rows = connection.execute(
        f"{_AUDIT} WHERE {condition} ORDER BY number DESC LIMIT ?", (*values, max(limit, 0))
    )
    return [
        AuditEntry(
            id=row[0],
            at_us=row[1],
            actor=row[2],
            role=row[3],
            action=row[4],
            object=row[5],
            detail=_detail(row[6]),
            outcome=row[7],
            address=row[8],
        )
        for row in rows
    ]
