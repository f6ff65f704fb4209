"""What the API and the console ask of the process they live in: one port, in five parts."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from trimtab.storage import BillQuery, BillRow, CallQuery, Cube, Erasure, RollupRow, SessionRow
from trimtab.types import (
    Actor,
    AuditEntry,
    Call,
    FeedbackGiven,
    KeySpec,
    PayloadPolicy,
    Project,
    ProviderSpec,
    Role,
    SavedView,
    SettingChange,
    Snapshot,
    User,
)

from .answers import DemoFilled, Erased, ProviderRow, ProviderTest, Published, Restarted, SettingRow


class Records(Protocol):
    """Calls and what was said of them."""

    async def find(self, query: CallQuery, *, payload: bool) -> list[Call]:
        """Return matching calls, newest first."""
        ...

    async def get(self, call_id: str) -> Call | None:
        """Return one call with payload and feedback, or None."""
        ...

    async def sessions(self, *, project: str = "", before: str = "", limit: int = 50) -> list[SessionRow]:
        """Return sessions, newest first; see `CallStore.sessions`."""
        ...

    async def rollup(self, cube: Cube, since_us: int = 0, until_us: int = 0) -> list[RollupRow]:
        """Return a cube's rows; see `CallStore.rollup`."""
        ...

    async def bill(self, query: BillQuery) -> list[BillRow]:
        """Return sums over calls; see `CallStore.bill`."""
        ...

    def export(self, query: CallQuery) -> AsyncIterator[list[Call]]:
        """Yield all matching calls with payload, newest first, a page at a time; `limit` is the whole."""
        ...

    async def give_feedback(self, actor: Actor, call_id: str, fields: dict[str, Any]) -> FeedbackGiven:
        """Record feedback on a call; `fields` are name, score, value, comment, correction.

        Raises:
            NotFound: there is no such call.
        """
        ...

    async def erase(self, actor: Actor, what: Erasure) -> Erased:
        """Erase a user's or a session's calls everywhere; returns when no trace is left in store and log.

        Raises:
            CallerError: neither user nor session is given.
        """
        ...


class People(Protocol):
    """Users, sign-ins and the audit log."""

    async def users(self) -> list[User]:
        """Return all users, passwords blanked."""
        ...

    async def add_user(self, actor: Actor, name: str, role: Role, password: str) -> User:
        """Make a user.

        Raises:
            CallerError: the name is taken or malformed, or the password too short.
        """
        ...

    async def change_user(
        self,
        actor: Actor,
        name: str,
        *,
        role: Role | None = None,
        password: str | None = None,
        disabled: bool | None = None,
    ) -> User:
        """Change a user; what is None stays. A new password or disabling ends the user's sign-ins.

        Raises:
            NotFound: there is no such user.
            CallerError: it would leave no way in, or the password is too short.
        """
        ...

    async def remove_user(self, actor: Actor, name: str) -> None:
        """Remove a user.

        Raises:
            NotFound: there is no such user.
        """
        ...

    async def sign_in(self, name: str, password: str, address: str) -> tuple[str, Actor]:
        """Check a password and open a sign-in; return its token and who it is.

        Slow on purpose, the same for unknown names, and bounded per name and address.

        Raises:
            Unauthenticated: name or password is wrong, or the user disabled; which one is not said.
            RateLimited: too many failures; try again later.
        """
        ...

    async def sign_in_with_token(self, token: str, address: str) -> tuple[str, Actor]:
        """Open a sign-in for who holds the installation's token.

        Raises:
            Unauthenticated: it is another.
            RateLimited: too many failures.
        """
        ...

    async def signed_in(self, token: str) -> Actor | None:
        """Return who a sign-in's token stands for, or None."""
        ...

    async def sign_out(self, token: str) -> None:
        """End a sign-in."""
        ...

    async def audit(
        self, *, actor: str = "", action: str = "", object: str = "", before: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        """Return audit entries, newest first; see `AppStore.audit`."""
        ...

    async def refused(self, actor: Actor, action: str, object: str) -> None:
        """Note that somebody tried what their role does not allow."""
        ...


class Objects(Protocol):
    """What is configured at run time. Every change is audited, and returns once the workers obey it."""

    async def keys(self) -> list[KeySpec]:
        """Return all keys that are valid."""
        ...

    async def add_key(
        self, actor: Actor, name: str, project: str, payload: PayloadPolicy | None
    ) -> tuple[str, KeySpec, Published]:
        """Make a key; its text is in this answer and nowhere else, ever.

        Raises:
            NotFound: its project does not exist.
        """
        ...

    async def revoke_key(self, actor: Actor, key_id: str) -> Published:
        """Revoke a key.

        Raises:
            NotFound: there is none of that id.
        """
        ...

    async def projects(self) -> list[Project]:
        """Return all projects."""
        ...

    async def put_project(self, actor: Actor, project: Project) -> Published:
        """Create or change a project.

        Raises:
            CallerError: its name or a field cannot be used.
        """
        ...

    async def remove_project(self, actor: Actor, name: str) -> Published:
        """Remove a project with its keys and calls.

        Raises:
            NotFound: there is none of that name.
            CallerError: it is `default`.
        """
        ...

    async def providers(self) -> list[ProviderRow]:
        """Return all providers, of file and store."""
        ...

    async def put_provider(self, actor: Actor, spec: ProviderSpec, *, api_key: str | None) -> Published:
        """Add a provider, or change one of the store's; its key is sealed before it is stored.

        Args:
            actor: who asks.
            spec: what it is; its own `api_key` is ignored.
            api_key: the key in plain text; None keeps the present one.

        Raises:
            CallerError: the name is the file's, or a field cannot be used (a URL to a private network: SSRF).
        """
        ...

    async def rotate_key(self, actor: Actor, name: str, api_key: str) -> Published:
        """Give a provider of the store's a new key; everything else of it stays. Empty: it needs none.

        Raises:
            NotFound: there is none of that name.
            CallerError: the file declares it, or the key cannot be used.
            Forbidden: the actor is no admin.
        """
        ...

    async def remove_provider(self, actor: Actor, name: str) -> Published:
        """Remove a provider of the store's.

        Raises:
            NotFound: there is none of that name.
            CallerError: the file declares it.
        """
        ...

    async def test_provider(self, actor: Actor, name: str) -> ProviderTest:
        """Ask a provider for its models: shows that it can be reached and takes the key.

        Raises:
            NotFound: there is none of that name.
        """
        ...

    async def settings(self) -> list[SettingRow]:
        """Return all settings that can be changed at run time."""
        ...

    async def change_setting(self, actor: Actor, name: str, value: str) -> Published:
        """Change a setting; an empty value goes back to the default.

        Raises:
            NotFound: there is no such setting.
            CallerError: the file sets it, or the value cannot be used.
        """
        ...

    async def setting_changes(self, limit: int = 100) -> list[SettingChange]:
        """Return the settings' history, newest first."""
        ...

    async def views(self) -> list[SavedView]:
        """Return all saved views."""
        ...

    async def add_view(self, actor: Actor, name: str, query: str) -> SavedView:
        """Save a view.

        Raises:
            CallerError: the query holds an unknown filter.
        """
        ...

    async def remove_view(self, actor: Actor, view_id: str) -> None:
        """Remove a view: one's own, or as an admin anybody's.

        Raises:
            NotFound: there is none of that id.
            Forbidden: it is somebody else's.
        """
        ...


class Machine(Protocol):
    """The installation itself."""

    async def health(self) -> dict[str, Any]:
        """Return processes, generations by worker, the ledger's backlog, disk and counters."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return the snapshot published last."""
        ...

    async def reload(self, actor: Actor) -> Published:
        """Read the configuration again and publish it.

        Raises:
            ConfigError: it cannot be used; what is published stays in force.
        """
        ...

    async def back_up(self, actor: Actor, target: str) -> dict[str, Any]:
        """Write a consistent backup into a new folder while everything runs; return files and bytes.

        Raises:
            CallerError: the folder is there already, or cannot be written.
        """
        ...

    async def restart(self, actor: Actor) -> Restarted:
        """Read the configuration again, then replace the workers one after the other while all of them serve.

        Returns once that is over, or after 25 s, while it goes on.

        Raises:
            ConfigError: the configuration cannot be used; everything stays as it is.
        """
        ...

    async def fill_demo(self, actor: Actor) -> DemoFilled:
        """Fill the project `demo` with a day of made-up calls; one of the last day is left as it is."""
        ...


class Control(Protocol):
    """The control process, as API and console see it."""

    @property
    def records(self) -> Records:
        """Calls and what was said of them."""
        ...

    @property
    def people(self) -> People:
        """Users, sign-ins and the audit log."""
        ...

    @property
    def objects(self) -> Objects:
        """What is configured at run time."""
        ...

    @property
    def machine(self) -> Machine:
        """The installation itself."""
        ...
