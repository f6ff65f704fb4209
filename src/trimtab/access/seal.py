"""Sealing of providers' keys: AES-256-GCM, bound to where the key may be sent.

A sealed key is `sealed:v1:` and base64 of a 12-byte nonce and what AES-GCM makes of the key. The provider's name,
kind, base URL, proxy and options are authenticated with it: a sealed key that is moved to another provider, or
whose provider was made to point elsewhere, does not open. So nobody who may change providers, and not see
their keys, can have a key sent to a server of their own.
"""

import base64
import hmac
import os
from typing import Final

import msgspec

from trimtab.types import ConfigError, ProviderSpec

SEALED: Final = "sealed:"
"""Begins every sealed text, of whatever version."""

SEAL_KEY_BYTES: Final = 32
_V1: Final = "sealed:v1:"
_NONCE_BYTES: Final = 12
_encode = msgspec.json.Encoder(order="deterministic").encode


class Seal:
    """Seals and opens providers' keys with one secret of 32 bytes."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != SEAL_KEY_BYTES:
            raise ConfigError(f"the key that seals has {len(key)} bytes, and must have {SEAL_KEY_BYTES}")
        self._key = key

    def seal(self, api_key: str, spec: ProviderSpec) -> str:
        """Return a provider's key sealed, for exactly where `spec` leads; its own `api_key` does not matter."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._key).encrypt(nonce, api_key.encode(), _bound(spec))
        return _V1 + base64.b64encode(nonce + sealed).decode()

    def mark(self, text: str) -> str:
        """Return a short text that differs where secrets differ, and tells nothing of them without our own."""
        digest = hmac.digest(self._key, b"trimtab mark\0" + text.encode(), "sha256")
        return f"(hidden #{digest.hex()[:8]})"

    def open(self, spec: ProviderSpec) -> str:
        """Return the plain key of a provider whose `api_key` is sealed.

        Raises:
            ConfigError: it was sealed with another secret, for another provider or base URL, by a newer
                Trimtab, or is damaged. The message shows nothing of it.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        text = spec.api_key
        if not text.startswith(_V1):
            raise ConfigError(
                f"the key of provider {spec.name!r} is sealed in a form that this Trimtab does not know; "
                "install the version that sealed it, or enter the key again"
            )
        try:
            raw = base64.b64decode(text.removeprefix(_V1), validate=True)
            return AESGCM(self._key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound(spec)).decode()
        except (InvalidTag, ValueError) as error:  # ValueError: no base64, or too short to be one
            raise ConfigError(
                f"the key of provider {spec.name!r} does not open: secret.key is another one, or the "
                "provider's address was changed since; enter the key again"
            ) from error


def is_sealed(api_key: str) -> bool:
    """Return whether a provider's key is in sealed form."""
    return api_key.startswith(SEALED)


def _bound(spec: ProviderSpec) -> bytes:
    """Return what decides where the key goes, as one canonical text."""
    return b"trimtab provider key\0" + _encode(
        [spec.name, spec.kind, spec.base_url, spec.proxy, spec.ca_file, spec.options]
    )
