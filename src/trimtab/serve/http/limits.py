"""What a server takes from its clients."""

from dataclasses import dataclass

HEAD_BYTES = 65_536
"""A request's head may not be larger: as much as the largest of common servers take."""

HEADERS = 256
"""Nor hold more fields; each costs a pass over it in the application."""

SLICE_BYTES = 8_192
"""How much is parsed at a time. One packet may hold thousands of small requests, each far larger as objects than as
bytes; parsing stops at the slice in which the first of those that must wait was found."""

UNREAD_BYTES = 65_536
"""Bytes that wait for the application, as body or as requests behind its own; beyond it the socket is not read."""

UNSENT_BYTES = 16_384
"""Reply bytes that wait for the client in this process; beyond it `send` waits."""

KERNEL_BYTES = 65_536
"""Reply bytes that wait for the client in the kernel, beside those on their way.

Left alone the kernel takes megabytes. They would be memory held by whoever does not read, and would hide for minutes
that a slow reader does read: what it takes shows here only when the kernel asks for more.
"""

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
    """How long a connection may take for a request's head, idle time before it included; how long a body that the
    application waits for, or the taking of a reply, may stand still. Ends up to a second later."""
