"""Taking our own keys out of what a provider says: some quote the key that they refuse, and their words go far."""

from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "[hidden]"

_SHORTEST: Final = 8
"""Shorter ones are no secrets but what local servers ask for, such as `none`: words of a message may hold them."""


class Hide:
    """Replaces secrets in texts. Only errors are looked through."""

    __slots__ = ("_found",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one may hold another.
        self._found = sorted((text for text in secrets if len(text) >= _SHORTEST), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return a text without them."""
        for secret in self._found:
            text = text.replace(secret, HIDDEN)
        return text

    def body(self, body: bytes) -> bytes:
        """Return a body without them, as it is where none stands in it."""
        for secret in self._found:
            body = body.replace(secret.encode(), HIDDEN.encode())
        return body


NOTHING: Final = Hide()
"""Where there is nothing to hide."""
