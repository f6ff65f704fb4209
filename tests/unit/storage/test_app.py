"""`app.db`: its migrations, backups and refusals."""

from pathlib import Path

import apsw
import pytest

from trimtab.storage.sqlite import open_app_store
from trimtab.storage.sqlite.app.migrations import MIGRATIONS, Migration, create_tables, migrate
from trimtab.storage.sqlite.connection import connect, transaction
from trimtab.types import (
    AuditEntry,
    FormatTooNew,
    KeySpec,
    Project,
    ProviderSpec,
    Release,
    SettingChange,
    StorageError,
    StoredProvider,
    User,
)

NEWEST = len(MIGRATIONS)


class StoppedClock:
    def now_us(self) -> int:
        return 1_790_078_400_000_000

    def monotonic(self) -> float:
        return 0.0


def add_colour(connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE project ADD COLUMN colour TEXT")


def make_first_version(path: Path) -> None:
    """Make a file as version 0.1.0 left it."""
    path.touch(mode=0o600)
    connection = open_raw(path)
    with transaction(connection):
        create_tables(connection)
        connection.execute('INSERT INTO project VALUES (\'acme\', \'{"name":"acme","payload":"hash"}\')')
        connection.pragma("user_version", 1)
    connection.close()


def break_half_way(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE half (x)")
    connection.execute("INSERT INTO nowhere VALUES (1)")


def open_raw(path: Path) -> apsw.Connection:
    return connect(path, formats=range(10), synchronous="FULL")


def tables(path: Path) -> set[str]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    finally:
        connection.close()


def test_the_file_is_private_and_new_ones_need_no_backup(tmp_path: Path) -> None:
    store = open_app_store(tmp_path / "data" / "app.db")
    store.put_setting("a", "b")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()} == {0o600}
    store.close()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["app.db"]
    open_app_store(tmp_path / "data" / "app.db").close()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["app.db"]


def test_a_migration_makes_a_backup_first_that_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = open_app_store(path)
    store.put_project(Project(name="acme"))
    store.close()
    connection = open_raw(path)
    backup = migrate(connection, path, (*MIGRATIONS, Migration("add colour", add_colour)), StoppedClock())
    assert connection.pragma("user_version") == NEWEST + 1
    assert connection.execute("SELECT name, colour FROM project").fetchall() == [("acme", None)]
    connection.close()
    assert backup == tmp_path / f"app.db.bak-{NEWEST}-20260922T120000Z"
    assert backup.stat().st_mode & 0o777 == 0o600
    backup.rename(path)
    store = open_app_store(path)
    assert [project.name for project in store.projects()] == ["default", "acme"]
    store.close()


def test_two_backups_of_one_second_do_not_overwrite_each_other(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    open_app_store(path).close()
    connection = open_raw(path)
    steps = [*MIGRATIONS]
    for number in range(2):
        connection.pragma("user_version", NEWEST)
        steps.append(Migration("nothing", lambda _: None))
        migrate(connection, path, steps, StoppedClock())
        assert len(list(tmp_path.glob(f"app.db.bak-{NEWEST}-*"))) == number + 1
    connection.close()


def test_a_failing_migration_undoes_itself_and_names_the_backup(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    open_app_store(path).close()
    before = tables(path)
    steps = (*MIGRATIONS, Migration("add colour", add_colour), Migration("break", break_half_way))
    connection = open_raw(path)
    with pytest.raises(
        StorageError, match=r"migration 7 \(break\) failed: .*nowhere.* version 6; .*app.db.bak-5-2026"
    ):
        migrate(connection, path, steps, StoppedClock())
    assert connection.pragma("user_version") == NEWEST + 1
    connection.close()
    assert tables(path) == before
    backup = next(tmp_path.glob(f"app.db.bak-{NEWEST}-*"))
    assert tables(backup) == before


def test_a_failing_first_migration_leaves_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.touch()
    connection = open_raw(path)
    with pytest.raises(StorageError, match="it was new and holds nothing"):
        migrate(connection, path, (Migration("break", break_half_way),), StoppedClock())
    connection.close()
    assert tables(path) == set()


def test_a_released_migration_has_not_changed() -> None:
    connection = apsw.Connection(":memory:")
    create_tables(connection)
    found = {
        row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
    }
    assert found == {
        "project", "key", "release", "move", "move_route", "move_release", "channel", "setting", "counter",
    }  # fmt: skip
    assert [step.name for step in MIGRATIONS] == [
        "create tables",
        "add people, views and providers",
        "add limits and budgets",
        "add alerts",
        "add keys' cache",
    ]


def test_a_file_of_the_first_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    make_first_version(path)
    store = open_app_store(path, clock=StoppedClock())
    assert store.projects() == [Project(), Project(name="acme", payload="hash")]
    store.put_user(User(name="ann", role="admin"))
    store.close()
    backup = tmp_path / "app.db.bak-1-20260922T120000Z"
    assert "user" in tables(path)
    assert "user" not in tables(backup)


@pytest.mark.parametrize("table", ["audit", "setting_change"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET actor = 'nobody'",
        "DELETE FROM {}",
        "INSERT OR REPLACE INTO {} SELECT * FROM {}",
        "UPDATE OR REPLACE {} SET number = 1 WHERE number = 2",
    ],
)
def test_what_was_done_cannot_be_undone(tmp_path: Path, table: str, statement: str) -> None:
    path = tmp_path / "app.db"
    store = open_app_store(path)
    for i in range(2):
        store.add_audit(AuditEntry(id=str(i), at_us=i, actor="ann", role="admin", action="a.b", object=""))
        store.change_setting(SettingChange(at_us=i, actor="ann", name="n", before="", after="x"))
    before = store.audit(), store.setting_changes()
    connection = open_raw(path)
    connection.pragma("recursive_triggers", 1)
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        connection.execute(statement.format(table, table))
    connection.close()
    assert (store.audit(), store.setting_changes()) == before
    store.close()


def test_a_backup_is_private_whole_and_replaces_nothing(tmp_path: Path) -> None:
    store = open_app_store(tmp_path / "app.db")
    store.add_key(KeySpec(id="key_1", sha256="d" * 64))
    target = tmp_path / "copy.db"
    store.back_up(str(target))
    assert target.stat().st_mode & 0o777 == 0o600
    content = target.read_bytes()
    with pytest.raises(StorageError, match=r"copy.db exists already"):
        store.back_up(str(target))
    assert target.read_bytes() == content
    with pytest.raises(StorageError, match=r"nowhere"):
        store.back_up(str(tmp_path / "nowhere" / "copy.db"))
    store.close()
    copy = open_app_store(target)
    keys = copy.keys()
    assert [key.id for key in keys] == ["key_1"]
    copy.close()


def test_removed_secrets_leave_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = open_app_store(path)
    for i in range(200):
        spec = ProviderSpec(name=f"p{i}", api_key=f"sealed:v1:SECRET{i}")
        store.put_provider(StoredProvider(spec=spec))
    for i in range(200):
        store.remove_provider(f"p{i}")
    store.close()
    assert b"SECRET" not in path.read_bytes()


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = open_app_store(path)
    store.close()
    connection = open_raw(path)
    connection.pragma("user_version", 7)
    connection.close()
    content = path.read_bytes()
    with pytest.raises(
        FormatTooNew, match=r"app.db has format 7, .* up to 5: a newer Trimtab .*Install that version"
    ):
        open_app_store(path)
    assert path.read_bytes() == content
    assert [found.name for found in tmp_path.iterdir()] == ["app.db"]


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.write_bytes(b"precious notes " * 500)
    with pytest.raises(StorageError, match=r"app.db is damaged"):
        open_app_store(path)
    assert path.read_bytes() == b"precious notes " * 500


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = open_app_store(path)
    release_id = store.put_release(Release(model="a/b"))
    connection = open_raw(path)
    connection.execute("UPDATE release SET body = x'ff'")
    connection.close()
    with pytest.raises(StorageError, match=r"app.db holds a damaged Release"):
        store.release(release_id)
    store.close()


def test_a_key_is_kept_as_its_hash_only(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = open_app_store(path)
    store.add_key(KeySpec(id="key_1", sha256="d" * 64))
    with pytest.raises(StorageError) as caught:
        store.add_key(KeySpec(id="key_2", sha256="d" * 64))
    store.close()
    assert "d" * 64 not in str(caught.value)
    connection = open_raw(path)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(key)")]
    connection.close()
    assert columns == [
        "id", "sha256", "name", "project", "payload", "created_us", "revoked", "cache_ttl_s",
    ]  # fmt: skip


def test_a_default_project_can_be_changed(tmp_path: Path) -> None:
    store = open_app_store(tmp_path / "app.db")
    store.put_project(Project(payload="none"))
    assert store.projects() == [Project(payload="none")]
    store.close()
    with pytest.raises(StorageError):
        store.projects()
