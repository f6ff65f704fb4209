"""What the API and the console ask of the process they live in: one port, in five parts."""

from typing import Protocol

from trimtab.types import (
    Actor,
    AuditEntry,
    BudgetSpec,
    KeySpec,
    LimitSpec,
    PayloadPolicy,
    Project,
    ProviderSpec,
    Role,
    SavedView,
    SettingChange,
    User,
)

from .alert_port import Alerts
from .answers import (
    BudgetRow,
    LimitRow,
    Moved,
    ProviderRow,
    ProviderTest,
    Published,
    SettingRow,
)
from .machine_port import Machine
from .records_port import Records


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

    async def change_password(self, actor: Actor, current: str, password: str) -> tuple[str, Actor]:
        """Change one's own password, which ends all sign-ins of the user and opens a new one; return it.

        As slow and as bounded as `sign_in`: who finds a browser open could try passwords here too.

        Args:
            actor: whose password it is.
            current: the present one.
            password: the new one.

        Raises:
            CallerError: the asker is no user (the installation's token has no password), `current` is wrong, or
                `password` is too short, too long, or the present one.
            RateLimited: too many failures; try again later.
        """
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
        self,
        actor: Actor,
        name: str,
        project: str,
        payload: PayloadPolicy | None,
        cache_ttl_s: float | None = None,
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

    async def after_removal(self, name: str) -> list[Moved]:
        """Return where the calls that a provider answers would go without it, which may be to somebody else.

        Raises:
            NotFound: there is none of that name.
        """
        ...

    async def test_provider(self, actor: Actor, name: str) -> ProviderTest:
        """Ask a provider for its models: shows that it can be reached and takes the key.

        Raises:
            NotFound: there is none of that name.
        """
        ...

    async def limits(self) -> list[LimitRow]:
        """Return all limits, of file and store, and how they stand now."""
        ...

    async def put_limit(self, actor: Actor, spec: LimitSpec) -> Published:
        """Add a limit, or change one of the store's.

        Raises:
            CallerError: the name is the file's, or a field cannot be used.
        """
        ...

    async def remove_limit(self, actor: Actor, name: str) -> Published:
        """Remove a limit of the store's.

        Raises:
            NotFound: there is none of that name.
            CallerError: the file declares it.
        """
        ...

    async def budgets(self) -> list[BudgetRow]:
        """Return all budgets, of file and store, and how they stand now."""
        ...

    async def put_budget(self, actor: Actor, spec: BudgetSpec) -> Published:
        """Add a budget, or change one of the store's; what is spent in its period counts from the ledger.

        Raises:
            CallerError: the name is the file's, or a field cannot be used.
        """
        ...

    async def remove_budget(self, actor: Actor, name: str) -> Published:
        """Remove a budget of the store's.

        Raises:
            NotFound: there is none of that name.
            CallerError: the file declares it.
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

    @property
    def alerts(self) -> Alerts:
        """Rules on how the installation is doing, and who is told."""
        ...
