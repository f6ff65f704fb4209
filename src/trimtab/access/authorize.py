"""Who is calling, and may they?"""

import msgspec

from trimtab.types import KeySpec, PayloadPolicy, Policy, Unauthenticated

from .keys import KEY_PREFIX, KeyRing, bearer
from .open import open_access_problem

_PREFIX = KEY_PREFIX.encode()
_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})


class Caller(msgspec.Struct, frozen=True):
    """Who makes a call."""

    key: str = ""
    """Id of the key; empty in open access."""
    project: str = "default"
    payload: PayloadPolicy = "full"
    """What is kept of this caller's words."""
    cache_ttl_s: float | None = None
    """How long its replies may be given again; None: as the route says."""


def authorize(
    headers: list[tuple[bytes, bytes]],
    policy: Policy,
    ring: KeyRing,
    *,
    bound_to_loopback: bool,
    by_name: dict[bytes, bytes] | None = None,
) -> Caller:
    """Return the caller of a request.

    A key of ours decides alone: known, it opens from anywhere; unknown, it is refused even where open access
    would do, since its holder believes to be somebody. A foreign key (`sk-...`) is ignored, never kept.

    Args:
        headers: as in ASGI, names in lower case.
        policy: `open_access` and `payload` are read.
        ring: the valid keys.
        bound_to_loopback: whether the server listens on loopback addresses only.
        by_name: `dict(headers)`, where the caller has made it already.

    Raises:
        Unauthenticated: no key where one is needed, or an unknown one.
        Forbidden: open access, but a foreign web page or host name is behind the request.
        WrongMediaType: open access, and a body that is not declared as JSON.
    """
    if by_name is None:
        by_name = dict(headers)
    if not _CREDENTIALS.isdisjoint(by_name):
        for name, value in headers:
            if name in _CREDENTIALS and _PREFIX in value:
                credential = bearer(value)
                if credential.startswith(_PREFIX):
                    key = _known(credential, ring)
                    return Caller(key.id, key.project, key.payload or policy.payload, key.cache_ttl_s)
    if not policy.open_access:
        raise Unauthenticated(
            "a key is needed: send `Authorization: Bearer tt-...` (make one with `trimtab keys create`)",
            param="authorization",
        )
    problem = open_access_problem(headers, bound_to_loopback=bound_to_loopback, by_name=by_name)
    if problem is not None:
        raise problem
    return Caller("", "default", policy.payload)


def _known(credential: bytes, ring: KeyRing) -> KeySpec:
    key = ring.find(credential)
    if key is None:
        raise Unauthenticated(
            "this key is not known: it was revoked, or belongs to another installation; "
            "make one with `trimtab keys create`",
            param="authorization",
        )
    return key
