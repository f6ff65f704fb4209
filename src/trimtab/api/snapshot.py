"""What the workers obey, with secrets masked."""

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from trimtab.types import ProviderSpec, Snapshot

from .keys import key_json
from .replies import control_of, reply

MASK = "***"

_ONLY_REFERENCES = re.compile(r"(\$\{[A-Za-z_][A-Za-z0-9_]*\})*")
_USER_INFO = re.compile(r"(?<=://)[^/@]*@")


async def get_snapshot(request: Request) -> Response:
    """Return the published snapshot, masked."""
    return reply(masked(await control_of(request).snapshot()))


def masked(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as plain data without provider keys, header values, passwords in URLs, key hashes."""
    tree: dict[str, Any] = msgspec.to_builtins(snapshot)
    tree["providers"] = [_provider(spec) for spec in snapshot.providers]
    tree["keys"] = [key_json(key) for key in snapshot.keys]
    return tree


def _provider(spec: ProviderSpec) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.to_builtins(spec)
    # A reference tells where the key comes from, not what it is; a default in it would be a key.
    if not _ONLY_REFERENCES.fullmatch(spec.api_key):
        tree["api_key"] = MASK
    tree["headers"] = dict.fromkeys(spec.headers, MASK)
    # Whatever a plugin understands may be a secret too.
    tree["options"] = dict.fromkeys(spec.options, MASK)
    for name in ("base_url", "proxy"):
        tree[name] = _USER_INFO.sub(f"{MASK}@", tree[name])
    return tree
