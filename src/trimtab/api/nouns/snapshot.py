"""What the workers obey, with secrets masked."""

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.replies import control_of, reply
from trimtab.api.table import Route
from trimtab.config import shown_reference
from trimtab.types import ProviderSpec, Snapshot

from .keys import key_row

MASK = "***"

_USER_INFO = re.compile(r"(?<=://)[^/@]*@")


async def get_snapshot(request: Request) -> Response:
    """Return the published snapshot, masked."""
    return reply(masked(await control_of(request).machine.snapshot()))


def masked(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as plain data without provider keys, header values, passwords in URLs, key hashes."""
    tree: dict[str, Any] = msgspec.to_builtins(snapshot)
    tree["providers"] = [_provider(spec) for spec in snapshot.providers]
    tree["keys"] = [msgspec.to_builtins(key_row(key)) for key in snapshot.keys]
    return tree


def _provider(spec: ProviderSpec) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.to_builtins(spec)
    if spec.api_key:
        # A reference tells where the key comes from, not what it is; a default in it would be a key.
        tree["api_key"] = shown_reference(spec.api_key) or MASK
    tree["headers"] = dict.fromkeys(spec.headers, MASK)
    # Whatever a plugin understands may be a secret too.
    tree["options"] = dict.fromkeys(spec.options, MASK)
    for name in ("base_url", "proxy"):
        tree[name] = _USER_INFO.sub(f"{MASK}@", tree[name])
    return tree


ROUTES = (
    Route(
        method="GET", path="/api/v1/snapshot", endpoint=get_snapshot, action="snapshot.read", role="viewer",
        summary="what the workers obey, with secrets masked", reply=dict[str, Any],
    ),
)  # fmt: skip
"""Every route of this noun."""
