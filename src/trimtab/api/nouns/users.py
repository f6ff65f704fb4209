"""Users, and the audit log of what they did."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.access import LONGEST_PASSWORD, SHORTEST_PASSWORD
from trimtab.api.replies import actor_of, control_of, read_json, read_query, reply
from trimtab.api.table import Nothing, Route
from trimtab.types import AuditEntry, CallerError, Role, User

Password = Annotated[str, Meta(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a user is made from."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    password: Password
    role: Role = "viewer"


class ChangedFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What changes of a user; what is null stays."""

    role: Role | None = None
    password: Password | None = None
    disabled: bool | None = None


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    """A user as it may be shown."""

    name: str
    role: Role
    created_us: int
    disabled: bool


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """All users, by name."""

    users: list[UserRow]


class AuditFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries; empty fields do not filter."""

    actor: str = ""
    action: Annotated[str, Meta(description="`noun.verb`, or `noun.` for all of a noun.")] = ""
    object: str = ""
    before: Annotated[str, Meta(description="Id of the last page's last entry.")] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the audit log."""

    id: str
    at_us: int
    actor: str
    role: Role
    action: str
    object: str
    detail: dict[str, Any]
    outcome: str
    address: str


class AuditList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the audit log, newest first."""

    entries: list[AuditRow]
    before: str | None
    """What the next page takes as `before`; null: there is none."""


async def list_users(request: Request) -> Response:
    """Return all users, without their passwords' hashes."""
    return reply(UserList(users=[_row(user) for user in await control_of(request).people.users()]))


async def create_user(request: Request) -> Response:
    """Make a user."""
    new = await read_json(request, NewUser)
    user = await control_of(request).people.add_user(actor_of(request), new.name, new.role, new.password)
    return reply(_row(user), 201)


async def change_user(request: Request) -> Response:
    """Change a user."""
    name = request.path_params["name"]
    fields = await read_json(request, ChangedFields)
    user = await control_of(request).people.change_user(
        actor_of(request), name, role=fields.role, password=fields.password, disabled=fields.disabled
    )
    return reply(_row(user))


async def remove_user(request: Request) -> Response:
    """Remove a user, and end their sign-ins."""
    await control_of(request).people.remove_user(actor_of(request), request.path_params["name"])
    return reply(Nothing())


async def list_audit(request: Request) -> Response:
    """Return entries of the audit log."""
    fields = read_query(request, AuditFields)
    if len(fields.before) > 64:
        raise CallerError("before is no entry's id", param="before")
    entries = await control_of(request).people.audit(**msgspec.structs.asdict(fields))
    older = entries[-1].id if len(entries) == fields.limit else None
    return reply(AuditList(entries=[_entry(entry) for entry in entries], before=older))


def _row(user: User) -> UserRow:
    return UserRow(name=user.name, role=user.role, created_us=user.created_us, disabled=user.disabled)


def _entry(entry: AuditEntry) -> AuditRow:
    return AuditRow(**msgspec.structs.asdict(entry))


ROUTES = (
    Route(
        method="GET", path="/api/v1/users", endpoint=list_users, action="user.list", role="admin",
        summary="all users", reply=UserList,
    ),
    Route(
        method="POST", path="/api/v1/users", endpoint=create_user, action="user.create", role="admin",
        summary=f"makes a user who signs in with a password of {SHORTEST_PASSWORD} characters or more", body=NewUser,
        reply=UserRow, status=201,
    ),
    Route(
        method="PATCH", path="/api/v1/users/{name}", endpoint=change_user, action="user.change", role="admin",
        summary="changes a user; a new password, or disabling, ends their sign-ins", body=ChangedFields,
        reply=UserRow,
    ),
    Route(
        method="DELETE", path="/api/v1/users/{name}", endpoint=remove_user, action="user.remove", role="admin",
        summary="removes a user, and ends their sign-ins", reply=Nothing,
    ),
    Route(
        method="GET", path="/api/v1/audit", endpoint=list_audit, action="audit.list", role="admin",
        summary="the audit log, newest first", query=AuditFields, reply=AuditList,
    ),
)  # fmt: skip
"""Every route of these nouns."""
