"""Passwords: Argon2id (RFC 9106), kept as PHC text, checked in the same time whether the user exists or not."""

import os
import unicodedata
from typing import Final

from trimtab.types import CallerError

SHORTEST: Final = 12
"""Characters of a password at least; length is all that is asked of it (NIST SP 800-63B, section 3.1.1.2)."""

LONGEST: Final = 1024
"""Characters at most: nobody types more, and hashing it must stay bounded."""

_MEMORY_KIB: Final = 32 * 1024
_PASSES: Final = 3
_LANES: Final = 1
"""Above OWASP's minimum for Argon2id (19 MiB, 2 passes, 1 lane): 60 ms of one core a check."""

_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32

NOBODY: Final = (
    "$argon2id$v=19$m=32768,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)
"""Checked where there is no such user, so that the answer takes as long; no password is known to fit it."""


def hash_password(password: str) -> str:
    """Return a password's hash in PHC form, with a salt of its own. About 60 ms of CPU and 32 MiB: use a thread.

    Raises:
        CallerError: it is too short or too long.
    """
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    if not SHORTEST <= len(password) <= LONGEST:
        raise CallerError(
            f"a password has {SHORTEST} to {LONGEST} characters, and this one {len(password)}; "
            "several words in a row are fine",
            param="password",
        )
    kdf = Argon2id(
        salt=os.urandom(_SALT_BYTES),
        length=_HASH_BYTES,
        iterations=_PASSES,
        lanes=_LANES,
        memory_cost=_MEMORY_KIB,
    )
    return kdf.derive_phc_encoded(_bytes_of(password))


def verify_password(password: str, phc: str) -> bool:
    """Return whether a password fits a hash; compares in constant time. As costly as `hash_password`.

    An empty or damaged hash fits nothing, and takes as long to say so.
    """
    from cryptography.exceptions import InvalidKey
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    given = _bytes_of(password[: LONGEST + 1])
    try:
        Argon2id.verify_phc_encoded(given, phc or NOBODY)
    except InvalidKey:
        return False
    except ValueError:  # the text is no PHC hash
        return False
    return bool(phc) and len(password) <= LONGEST


def _bytes_of(password: str) -> bytes:
    # The same word typed on two systems may come composed or decomposed (NIST SP 800-63B, section 3.1.1.2).
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
