"""What a server takes from its clients."""

from dataclasses import dataclass

HEAD_BYTES = 65_536
"""A request's head may not be larger: as much as the largest of common servers take."""

HEADERS = 256
"""Nor hold more fields; each costs a pass over it in the application."""

UNREAD_BYTES = 65_536
"""Body bytes that wait for the application; beyond it the socket is not read."""

UNSENT_BYTES = 16_384
"""Reply bytes that wait for the client, beside what the kernel takes; beyond it `send` waits."""

LINGER_S = 2.0
"""How long what a client still sends is thrown away after it was refused.

A socket that is closed with unread bytes resets, and the client loses the reply (RFC 9112, section 9.6).
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of a server."""

    connections: int = 20_000
    """Held at once, idle ones too; more wait in the listening socket's queue."""
    idle_s: float = 75.0
    """How long a connection may take for a request's head, idle time before it included; how long a body or the
    taking of a reply may stand still."""
