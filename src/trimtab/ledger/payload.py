"""What of a call's words is kept: the payload policy, compiled into one function a policy."""

import hashlib
from collections.abc import Callable, Mapping

from trimtab.types.errors import ConfigError

Mask = Callable[[bytes], bytes]
"""Returns the bytes with everything hidden that the rails hide."""


Keep = Callable[[bytes], bytes]
"""Returns what of the bytes may be stored.

An error of the mask comes through: the words are not kept, and not passed off as kept.
"""


class _Policies(dict[str, Keep]):
    def __missing__(self, policy: str) -> Keep:
        if policy == "masked":
            raise ConfigError(
                "payload policy 'masked' needs a guard pack that masks, and none is set up; "
                "set one up, or choose 'hash' or 'none'"
            )
        raise ConfigError(f"payload policy {policy!r} must be one of 'full', 'masked', 'hash', 'none'")


def payload_policies(mask: Mask | None = None) -> Mapping[str, Keep]:
    """Return what each policy keeps, by its name: all, all that the mask leaves, a SHA-256, nothing.

    To look up a policy that there is not, or `masked` without a mask, raises ConfigError.

    >>> payload_policies()["none"](b"secret")
    b''
    """
    policies = _Policies(full=_all, hash=_digest, none=_nothing)
    if mask is not None:
        policies["masked"] = mask
    return policies


def _all(data: bytes) -> bytes:
    return data


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest() if data else b""


def _nothing(data: bytes) -> bytes:
    return b""
