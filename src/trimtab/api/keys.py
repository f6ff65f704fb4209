"""Keys that applications hold."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from trimtab.access import make_key
from trimtab.types import KeySpec, NotFound, PayloadPolicy

from .replies import control_of, read_json, reply


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key is made from."""

    name: str = ""
    project: str = "default"
    payload: PayloadPolicy | None = None


async def list_keys(request: Request) -> Response:
    """Return the keys that are valid, without their hashes."""
    return reply({"keys": [key_json(key) for key in await control_of(request).keys()]})


async def create_key(request: Request) -> Response:
    """Make a key. Its text is in this answer and nowhere else, ever."""
    new = await read_json(request, NewKey)
    plain, spec = make_key(new.name, project=new.project, payload=new.payload)
    published = await control_of(request).add_key(spec)
    return reply({"key": plain, **key_json(spec), "published": published}, 201)


async def revoke_key(request: Request) -> Response:
    """Revoke a key: 404 where there is none of that id."""
    key_id = request.path_params["id"]
    published = await control_of(request).revoke_key(key_id)
    if published is None:
        raise NotFound(f"there is no key {key_id!r}; `trimtab keys list` shows those there are", param="id")
    return reply({"id": key_id, "revoked": True, "published": published})


def key_json(key: KeySpec) -> dict[str, object]:
    """Return what may be shown of a key."""
    return {
        "id": key.id,
        "name": key.name,
        "project": key.project,
        "payload": key.payload,
        "created_us": key.created_us,
    }
