"""Who may call: the open-access rule, and keys.

Owns the form of keys (`tt-` and 43 characters) and their check; only SHA-256 hashes are kept.
Promises: pure functions on headers, no I/O, a few microseconds; a caller's foreign key is never kept; open
access lets in no web page of another origin, no re-bound name, nothing that was forwarded.
Never decides what a caller may spend or see.
Entry: `authorize(headers, policy, ring, bound_to_loopback=...)`.
"""

from .authorize import Caller, authorize
from .keys import KEY_PREFIX, KeyRing, bearer, make_key
from .open import open_access_problem

__all__ = ["KEY_PREFIX", "Caller", "KeyRing", "authorize", "bearer", "make_key", "open_access_problem"]
