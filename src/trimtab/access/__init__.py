"""Who may call, who may sign in, and what is kept of their secrets.

Owns the open-access rule; keys (`tt-`) and sign-in tokens (`ts-`), kept as SHA-256 only; passwords (Argon2id);
the limit on failed sign-ins; the count of repeated refusals; what a role permits; the sealed form of providers' keys.
Promises: no I/O; keys are checked in a few microseconds; a caller's foreign key is never kept; open access lets
in no web page of another origin, no re-bound name, nothing that was forwarded; a sealed key opens only for the
provider and address it was sealed for.
Never decides what a caller may spend, and never reads or writes a file.
Entry: `authorize(headers, policy, ring, bound_to_loopback=...)` for calls; the functions for people.
"""

from .authorize import Caller, authorize
from .keys import KEY_PREFIX, KeyRing, bearer, make_key
from .limiter import FailureLimiter
from .open import open_access_problem
from .passwords import LONGEST as LONGEST_PASSWORD
from .passwords import SHORTEST as SHORTEST_PASSWORD
from .passwords import hash_password, verify_password
from .refusals import Refusals, Repeated
from .roles import permits
from .seal import SEAL_KEY_BYTES, Seal, is_sealed
from .tokens import TOKEN_PREFIX, expiry, make_token, token_hash

__all__ = [
    "KEY_PREFIX",
    "LONGEST_PASSWORD",
    "SEAL_KEY_BYTES",
    "SHORTEST_PASSWORD",
    "TOKEN_PREFIX",
    "Caller",
    "FailureLimiter",
    "KeyRing",
    "Refusals",
    "Repeated",
    "Seal",
    "authorize",
    "bearer",
    "expiry",
    "hash_password",
    "is_sealed",
    "make_key",
    "make_token",
    "open_access_problem",
    "permits",
    "token_hash",
    "verify_password",
]
