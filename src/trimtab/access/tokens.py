"""Tokens of sign-ins: as random as keys, kept as a hash only, new at every sign-in."""

import base64
import hashlib
import os
from typing import Final

TOKEN_PREFIX: Final = "ts-"  # noqa: S105 - the beginning of one
"""Begins every sign-in's token: told apart from a key (`tt-`), which opens the gateway and nothing here."""

IDLE_US: Final = 12 * 3600 * 1_000_000
"""A sign-in ends this long after its last use."""

WHOLE_US: Final = 7 * 24 * 3600 * 1_000_000
"""A sign-in ends this long after it began, however much it is used."""

_TOKEN_BYTES: Final = 32
_LONGEST_TOKEN: Final = 512


def make_token() -> tuple[str, str]:
    """Return a new token, 256 random bits, and the SHA-256 (hex) that is kept of it."""
    plain = TOKEN_PREFIX + base64.urlsafe_b64encode(os.urandom(_TOKEN_BYTES)).rstrip(b"=").decode()
    return plain, token_hash(plain)


def token_hash(token: str) -> str:
    """Return what is kept of a token; an overlong text hashes as if it were empty."""
    raw = token.encode("utf-8", "surrogatepass") if len(token) <= _LONGEST_TOKEN else b""
    return hashlib.sha256(raw).hexdigest()


def expiry(created_us: int, now_us: int) -> int:
    """Return when a sign-in ends that began at `created_us` and was used just now; microseconds since 1970."""
    return min(now_us + IDLE_US, created_us + WHOLE_US)
