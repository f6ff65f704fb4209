"""Keys: made once, kept only as a hash, checked in about a microsecond."""

import base64
import hashlib
import os
from collections.abc import Iterable

from trimtab.types import Clock, KeySpec, PayloadPolicy, SystemClock, new_id

KEY_PREFIX = "tt-"
"""Begins every key of ours; what begins otherwise is a foreign key and none of our business."""

_KEY_BYTES = 32
"""256 random bits, 43 characters of base64url: so many that a plain SHA-256 needs no salt or stretching."""

_LONGEST_CREDENTIAL = 512
"""Characters; nothing longer is hashed."""


def make_key(
    name: str = "",
    *,
    project: str = "default",
    payload: PayloadPolicy | None = None,
    cache_ttl_s: float | None = None,
    clock: Clock | None = None,
) -> tuple[str, KeySpec]:
    """Return a new key in plain text, to be shown once, and what is kept of it."""
    plain = KEY_PREFIX + base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).rstrip(b"=").decode()
    spec = KeySpec(
        id="key_" + new_id().replace("-", ""),
        sha256=hashlib.sha256(plain.encode()).hexdigest(),
        name=name,
        project=project,
        payload=payload,
        cache_ttl_s=cache_ttl_s,
        created_us=(clock or SystemClock()).now_us(),
    )
    return plain, spec


class KeyRing:
    """All valid keys, ready to check. Immutable: a change makes a new ring."""

    __slots__ = ("_by_hash",)

    def __init__(self, keys: Iterable[KeySpec] = ()) -> None:
        # The digest of a guess tells nothing about a key: a plain look-up leaks no timing worth having.
        self._by_hash = {bytes.fromhex(key.sha256): key for key in keys}

    def __len__(self) -> int:
        return len(self._by_hash)

    def find(self, plain: bytes) -> KeySpec | None:
        """Return the key of this plain text, or None."""
        if len(plain) > _LONGEST_CREDENTIAL:
            return None
        return self._by_hash.get(hashlib.sha256(plain).digest())

    def check(self, authorization: bytes) -> KeySpec | None:
        """Return the key that an `Authorization` or `x-api-key` header value holds, or None."""
        return self.find(bearer(authorization))


def bearer(value: bytes) -> bytes:
    """Return the credential of an `Authorization: Bearer` value (RFC 6750, section 2.1), else the value.

    >>> bearer(b"Bearer tt-x"), bearer(b"bearer  tt-x "), bearer(b"tt-x")
    (b'tt-x', b'tt-x', b'tt-x')
    """
    value = value.strip()
    return value[7:].strip() if value[:7].lower() == b"bearer " else value
