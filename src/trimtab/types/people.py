"""Who works with an installation, and what they did: users, roles, audit entries, saved views."""

from typing import Any, Literal

import msgspec

from .snapshot import ProviderSpec

Role = Literal["viewer", "editor", "admin"]
"""What somebody may do: look; change keys, projects and settings too; change users and secrets too."""

ROLES: tuple[Role, ...] = ("viewer", "editor", "admin")
"""In rising order: each may do all that those before it may."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who signs in."""

    name: str
    """1 to 64 letters, digits, `.`, `-`, `_` or `@`; unique whatever its case."""
    role: Role
    password: str = ""
    """Argon2id hash in PHC form; empty: cannot sign in. Never leaves the store but to be checked."""
    created_us: int = 0
    disabled: bool = False


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf something is asked of the control process."""

    name: str
    """The user's name; `admin-token` for who holds the installation's own token."""
    role: Role
    via: Literal["token", "console"] = "token"
    address: str = ""


class LoginSession(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in to the console; of its token only the SHA-256 is kept."""

    sha256: str
    user: str
    role: Role
    created_us: int
    expires_us: int


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody did, or tried. Append-only; secrets never stand in it."""

    id: str
    at_us: int
    actor: str
    role: Role
    action: str
    """`noun.verb`: `key.create`, `user.disable`, `session.open`, `provider.rotate`, ..."""
    object: str
    """Name or id of what it was done to."""
    detail: dict[str, Any] = {}
    """What changed: `{"field": [before, after]}`, or what describes it."""
    outcome: Literal["done", "refused"] = "done"
    address: str = ""


class SavedView(msgspec.Struct, frozen=True, kw_only=True):
    """A named filter of the list of calls."""

    id: str
    name: str
    owner: str
    """User's name; everybody sees all views, the owner and admins remove them."""
    query: str
    """The list's query string: fields of `CallQuery`."""
    created_us: int = 0


class StoredProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that was added at run time, and not by the configuration file."""

    spec: ProviderSpec
    """Its `api_key` is sealed (`sealed:v1:...`), as everywhere outside the process that calls."""
    created_us: int = 0
    rotated_us: int = 0
    """When its key was changed last."""


class SettingChange(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the settings' history."""

    at_us: int
    actor: str
    name: str
    before: str
    after: str
