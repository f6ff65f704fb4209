"""Keys that applications hold."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.answers import Published
from trimtab.api.replies import actor_of, control_of, read_json, reply
from trimtab.api.table import Route
from trimtab.types import KeySpec, PayloadPolicy


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key is made from."""

    name: Annotated[str, Meta(max_length=128, description="What it is for.")] = ""
    project: Annotated[str, Meta(description="Project that its calls belong to.")] = "default"
    payload: Annotated[
        PayloadPolicy | None, Meta(description="What is kept of its calls' words; null: as its project says.")
    ] = None
    cache_ttl_s: Annotated[
        Annotated[float, Meta(ge=0, le=31_536_000)] | None,
        Meta(
            description="How long a reply is given again to it for one request; 0: never; null: as its route says."
        ),
    ] = None


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a key."""

    id: str
    name: str
    project: str
    payload: PayloadPolicy | None
    created_us: int
    cache_ttl_s: float | None = None


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that are valid."""

    keys: list[KeyRow]


class MadeKey(KeyRow, frozen=True, kw_only=True):
    """A key that was just made."""

    key: str
    """Its text: in this answer and nowhere else, ever."""
    published: Published


class RevokedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that no worker takes any more."""

    id: str
    revoked: bool
    published: Published


async def list_keys(request: Request) -> Response:
    """Return the keys that are valid, without their hashes."""
    return reply(KeyList(keys=[key_row(key) for key in await control_of(request).objects.keys()]))


async def create_key(request: Request) -> Response:
    """Make a key."""
    new = await read_json(request, NewKey)
    plain, spec, published = await control_of(request).objects.add_key(
        actor_of(request), new.name, new.project, new.payload, new.cache_ttl_s
    )
    row = msgspec.structs.asdict(key_row(spec))
    return reply(MadeKey(key=plain, published=published, **row), 201)


async def revoke_key(request: Request) -> Response:
    """Revoke a key: 404 where there is none of that id."""
    key_id = request.path_params["id"]
    published = await control_of(request).objects.revoke_key(actor_of(request), key_id)
    return reply(RevokedKey(id=key_id, revoked=True, published=published))


def key_row(key: KeySpec) -> KeyRow:
    """Return what may be shown of a key."""
    return KeyRow(
        id=key.id,
        name=key.name,
        project=key.project,
        payload=key.payload,
        created_us=key.created_us,
        cache_ttl_s=key.cache_ttl_s,
    )


ROUTES = (
    Route(
        method="GET", path="/api/v1/keys", endpoint=list_keys, action="key.list", role="viewer",
        summary="the valid keys, without their text", reply=KeyList,
    ),
    Route(
        method="POST", path="/api/v1/keys", endpoint=create_key, action="key.create", role="editor",
        summary="makes a key; its text (`key`) is in this answer only", body=NewKey, reply=MadeKey, status=201,
    ),
    Route(
        method="DELETE", path="/api/v1/keys/{id}", endpoint=revoke_key, action="key.revoke", role="editor",
        summary="revokes a key", reply=RevokedKey,
    ),
)  # fmt: skip
"""Every route of this noun."""
