"""The port of what is configured at run time. What satisfies it, and passes `testing`'s kit, is a backend."""

from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from trimtab.types import (
    AuditEntry,
    BudgetSpec,
    KeySpec,
    LimitSpec,
    LoginSession,
    Project,
    Release,
    RouteSpec,
    SavedView,
    SettingChange,
    StoredProvider,
    User,
)

from .alert_port import AlertStore


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a route's history: which releases a channel pointed at, since when, by whom, why."""

    id: str
    at_us: int
    project: str
    route: str
    channel: str
    releases: tuple[tuple[str, int], ...]
    """(release id, weight)."""
    author: str
    reason: str


class AppStore(AlertStore, Protocol):
    """What is configured at run time. One process writes: control, or a command holding the data folder."""

    def together(self) -> AbstractContextManager[None]:
        """Do everything that this thread does in the block in one transaction; an error that leaves it undoes all."""
        ...

    def projects(self) -> list[Project]:
        """Return all projects; `default` is always there."""
        ...

    def put_project(self, project: Project) -> None:
        """Create or replace a project."""
        ...

    def keys(self) -> list[KeySpec]:
        """Return all keys that are not revoked."""
        ...

    def add_key(self, key: KeySpec) -> None:
        """Store a key.

        Raises:
            StorageError: the id or hash is taken.
        """
        ...

    def revoke_key(self, key_id: str) -> bool:
        """Revoke a key; False where there is none of that id."""
        ...

    def put_release(self, release: Release) -> str:
        """Store a release under its content id (idempotent) and return the id."""
        ...

    def release(self, release_id: str) -> Release | None:
        """Return a release, or None."""
        ...

    def routes(self) -> list[RouteSpec]:
        """Return the routes as they point now."""
        ...

    def move(self, move: Move) -> None:
        """Append a move and make it current, in one transaction. A move to no release ends the channel.

        Raises:
            StorageError: a release is not stored, or the move's id is taken.
        """
        ...

    def moves(self, project: str, route: str) -> list[Move]:
        """Return a route's history, oldest first."""
        ...

    def setting(self, name: str) -> str | None:
        """Return a stored setting, or None."""
        ...

    def put_setting(self, name: str, value: str) -> None:
        """Store a setting."""
        ...

    def next_generation(self) -> int:
        """Return a number greater than every one before it, for good."""
        ...

    def remove_project(self, name: str) -> bool:
        """Remove a project with its keys; False where there is none of that name, or it is `default`."""
        ...

    def settings(self) -> dict[str, str]:
        """Return all settings that were stored."""
        ...

    def change_setting(self, change: SettingChange) -> None:
        """Store a setting with its history, in one transaction; an empty `after` removes it."""
        ...

    def setting_changes(self, *, limit: int = 100) -> list[SettingChange]:
        """Return the settings' history, newest first."""
        ...

    def users(self) -> list[User]:
        """Return all users, by name."""
        ...

    def user(self, name: str) -> User | None:
        """Return a user by name, whatever its case; or None."""
        ...

    def put_user(self, user: User) -> None:
        """Create or replace a user."""
        ...

    def remove_user(self, name: str) -> bool:
        """Remove a user with all sign-ins; False where there is none of that name."""
        ...

    def add_login(self, login: LoginSession) -> None:
        """Store a sign-in; those that have expired are dropped."""
        ...

    def login(self, sha256: str, now_us: int) -> LoginSession | None:
        """Return a sign-in that has not expired, whose user is there and enabled, with the user's present role."""
        ...

    def end_login(self, sha256: str) -> None:
        """Remove a sign-in."""
        ...

    def end_logins_of(self, user: str) -> int:
        """Remove all sign-ins of a user; return how many."""
        ...

    def add_audit(self, entry: AuditEntry) -> None:
        """Append an entry. There is no way to change or remove one."""
        ...

    def audit(
        self, *, actor: str = "", action: str = "", object: str = "", before: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        """Return entries, newest first; `action` may end in a dot to mean all of a noun; `before` is an id."""
        ...

    def views(self) -> list[SavedView]:
        """Return all saved views, by name."""
        ...

    def put_view(self, view: SavedView) -> None:
        """Create or replace a view."""
        ...

    def remove_view(self, view_id: str) -> bool:
        """Remove a view; False where there is none of that id."""
        ...

    def providers(self) -> list[StoredProvider]:
        """Return the providers added at run time, by name."""
        ...

    def put_provider(self, provider: StoredProvider) -> None:
        """Create or replace a provider."""
        ...

    def remove_provider(self, name: str) -> bool:
        """Remove a provider; False where there is none of that name."""
        ...

    def limits(self) -> list[LimitSpec]:
        """Return the limits added at run time, by name."""
        ...

    def budgets(self) -> list[BudgetSpec]:
        """Return the budgets added at run time, by name."""
        ...

    def put_rule(self, rule: LimitSpec | BudgetSpec) -> None:
        """Create or replace a limit or a budget; a limit and a budget may bear the same name."""
        ...

    def remove_rule(self, kind: type[LimitSpec] | type[BudgetSpec], name: str) -> bool:
        """Remove a limit or a budget; False where there is none of that name."""
        ...

    def back_up(self, target: str) -> None:
        """Write a consistent copy of the file to a path that is not there yet."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...
