"""The app store: one small file for what is configured at run time, synced on every commit."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw

from trimtab.storage.app_port import Move
from trimtab.storage.atomic import sync_file, sync_folder
from trimtab.storage.sqlite.connection import (
    connect,
    create_file,
    make_folder,
    storage_errors,
    transaction,
)
from trimtab.types import (
    AuditEntry,
    BudgetSpec,
    Clock,
    KeySpec,
    LimitSpec,
    LoginSession,
    Project,
    Release,
    RouteSpec,
    SavedView,
    SettingChange,
    StorageError,
    StoredProvider,
    User,
)

from . import objects, people, routes
from .alerts import AlertRows
from .migrations import MIGRATIONS, migrate


class SqliteAppStore(AlertRows):
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
                self._connection.pragma("recursive_triggers", 1)  # a REPLACE is a DELETE to triggers too
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
        with self._reading() as connection:
            if connection.in_transaction:  # inside `together`, on the thread that holds the lock
                yield connection
            else:
                with transaction(connection):
                    yield connection

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """See `AppStore.together`."""
        with self._writing():
            yield

    # Projects

    def projects(self) -> list[Project]:
        """See `AppStore.projects`."""
        with self._reading() as connection:
            return objects.projects(connection)

    def put_project(self, project: Project) -> None:
        """See `AppStore.put_project`."""
        with self._writing() as connection:
            objects.put_project(connection, project)

    def remove_project(self, name: str) -> bool:
        """See `AppStore.remove_project`. Its releases and the history of its routes stay."""
        with self._writing() as connection:
            return objects.remove_project(connection, name)

    # Keys

    def keys(self) -> list[KeySpec]:
        """See `AppStore.keys`."""
        with self._reading() as connection:
            return objects.keys(connection)

    def add_key(self, key: KeySpec) -> None:
        """See `AppStore.add_key`. The id and hash of a revoked key stay taken."""
        with self._writing() as connection:
            objects.add_key(connection, key)

    def revoke_key(self, key_id: str) -> bool:
        """See `AppStore.revoke_key`. A key that is revoked already is none."""
        with self._writing() as connection:
            return objects.revoke_key(connection, key_id)

    # Releases and routes

    def put_release(self, release: Release) -> str:
        """See `AppStore.put_release`."""
        with self._writing() as connection:
            return routes.put_release(connection, release)

    def release(self, release_id: str) -> Release | None:
        """See `AppStore.release`."""
        with self._reading() as connection:
            return routes.release(connection, release_id)

    def routes(self) -> list[RouteSpec]:
        """See `AppStore.routes`."""
        with self._reading() as connection:
            return routes.routes(connection)

    def move(self, move: Move) -> None:
        """See `AppStore.move`."""
        with self._writing() as connection:
            routes.move(connection, move)

    def moves(self, project: str, route: str) -> list[Move]:
        """See `AppStore.moves`."""
        with self._reading() as connection:
            return routes.moves(connection, project, route)

    # Settings

    def setting(self, name: str) -> str | None:
        """See `AppStore.setting`."""
        with self._reading() as connection:
            return objects.setting(connection, name)

    def put_setting(self, name: str, value: str) -> None:
        """See `AppStore.put_setting`."""
        with self._writing() as connection:
            objects.put_setting(connection, name, value)

    def settings(self) -> dict[str, str]:
        """See `AppStore.settings`."""
        with self._reading() as connection:
            return objects.settings(connection)

    def change_setting(self, change: SettingChange) -> None:
        """See `AppStore.change_setting`."""
        with self._writing() as connection:
            objects.change_setting(connection, change)

    def setting_changes(self, *, limit: int = 100) -> list[SettingChange]:
        """See `AppStore.setting_changes`."""
        with self._reading() as connection:
            return objects.setting_changes(connection, limit)

    # Users and sign-ins

    def users(self) -> list[User]:
        """See `AppStore.users`."""
        with self._reading() as connection:
            return people.users(connection)

    def user(self, name: str) -> User | None:
        """See `AppStore.user`."""
        with self._reading() as connection:
            return people.user(connection, name)

    def put_user(self, user: User) -> None:
        """See `AppStore.put_user`."""
        with self._writing() as connection:
            people.put_user(connection, user)

    def remove_user(self, name: str) -> bool:
        """See `AppStore.remove_user`."""
        with self._writing() as connection:
            return people.remove_user(connection, name)

    def add_login(self, login: LoginSession) -> None:
        """See `AppStore.add_login`. Expired are those whose end came before its start."""
        with self._writing() as connection:
            people.add_login(connection, login)

    def login(self, sha256: str, now_us: int) -> LoginSession | None:
        """See `AppStore.login`."""
        with self._reading() as connection:
            return people.login(connection, sha256, now_us)

    def end_login(self, sha256: str) -> None:
        """See `AppStore.end_login`."""
        with self._writing() as connection:
            people.end_login(connection, sha256)

    def end_logins_of(self, user: str) -> int:
        """See `AppStore.end_logins_of`."""
        with self._writing() as connection:
            return people.end_logins_of(connection, user)

    # Audit

    def add_audit(self, entry: AuditEntry) -> None:
        """See `AppStore.add_audit`. Triggers of the file refuse every change."""
        with self._writing() as connection:
            people.add_audit(connection, entry)

    def audit(
        self, *, actor: str = "", action: str = "", object: str = "", before: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        """See `AppStore.audit`."""
        with self._reading() as connection:
            return people.audit(connection, {"actor": actor, "object": object}, action, before, limit)

    # Views

    def views(self) -> list[SavedView]:
        """See `AppStore.views`."""
        with self._reading() as connection:
            return objects.views(connection)

    def put_view(self, view: SavedView) -> None:
        """See `AppStore.put_view`."""
        with self._writing() as connection:
            objects.put_view(connection, view)

    def remove_view(self, view_id: str) -> bool:
        """See `AppStore.remove_view`."""
        with self._writing() as connection:
            return objects.remove_view(connection, view_id)

    # Providers

    def providers(self) -> list[StoredProvider]:
        """See `AppStore.providers`."""
        with self._reading() as connection:
            return objects.providers(connection)

    def put_provider(self, provider: StoredProvider) -> None:
        """See `AppStore.put_provider`."""
        with self._writing() as connection:
            objects.put_provider(connection, provider)

    def remove_provider(self, name: str) -> bool:
        """See `AppStore.remove_provider`."""
        with self._writing() as connection:
            return objects.remove_provider(connection, name)

    # Limits and budgets

    def limits(self) -> list[LimitSpec]:
        """See `AppStore.limits`."""
        with self._reading() as connection:
            return objects.rules(connection, LimitSpec)

    def budgets(self) -> list[BudgetSpec]:
        """See `AppStore.budgets`."""
        with self._reading() as connection:
            return objects.rules(connection, BudgetSpec)

    def put_rule(self, rule: LimitSpec | BudgetSpec) -> None:
        """See `AppStore.put_rule`."""
        with self._writing() as connection:
            objects.put_rule(connection, rule)

    def remove_rule(self, kind: type[LimitSpec] | type[BudgetSpec], name: str) -> bool:
        """See `AppStore.remove_rule`."""
        with self._writing() as connection:
            return objects.remove_rule(connection, kind, name)

    # The file

    def next_generation(self) -> int:
        """See `AppStore.next_generation`."""
        with self._writing() as connection:
            return int(
                connection.execute(
                    "UPDATE counter SET value = value + 1 WHERE name = 'generation' RETURNING value"
                ).get
            )

    def back_up(self, target: str) -> None:
        """See `AppStore.back_up`. Reads and writes the file once; it is synced before this returns."""
        path = Path(target)
        try:
            with storage_errors(path):
                create_file(path)
        except StorageError as error:
            if isinstance(error.__cause__, FileExistsError):
                raise StorageError(f"{path} exists already; choose a path that is not there yet") from error
            raise
        try:
            with self._reading() as connection:
                connection.execute("VACUUM INTO ?", (str(path),))
            with storage_errors(path):
                sync_file(path)
                sync_folder(path.parent)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
