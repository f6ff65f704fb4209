"""Which addresses a provider that was added at run time may reach.

Whoever may add a provider must not reach with it what only this machine can: the services on its loopback
interface and its network, and above all the metadata service of a cloud, which hands out credentials. A name is
therefore judged by what it resolves to, at each connection, and exactly the addresses that were judged are dialled:
a name that changes between check and use (DNS rebinding) gains nothing.
"""

import asyncio
import ipaddress
import socket
from typing import Final

from trimtab.types import Reach
from trimtab.types.errors import AddressRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
"""Metadata services of AWS, Azure, GCP and others; AWS over IPv6; Alibaba; Oracle; Azure's wire server."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")


def address_problem(address: str, reach: Reach, *, tls: bool) -> str:
    """Return what is wrong with connecting to an IP address; empty where nothing is.

    Args:
        address: as a resolver returns it; a zone (`%eth0`) is ignored.
        reach: see `types.Reach`.
        tls: whether the connection is encrypted.

    >>> address_problem("::ffff:10.0.0.1", "public", tls=True)
    'a private address'
    """
    if reach == "any":
        return ""
    found = _inner(ipaddress.ip_address(address.partition("%")[0]))
    if found in _METADATA:
        return "the address of a cloud's metadata service"
    if found.is_loopback:
        return "" if reach == "private" else "a loopback address"
    if found.is_unspecified or found.is_multicast or found.is_link_local or found.is_reserved:
        return "no address of a server (link-local, multicast, unspecified or reserved)"
    if reach == "public" and not found.is_global:
        return "a private address"
    return "" if tls else "not loopback, and http:// would send the key in the open: use https://"


def _inner(address: Address) -> Address:
    """Return the IPv4 address inside an IPv6 one that only carries it: mapped, compatible, NAT64, 6to4, Teredo."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    carried = address.ipv4_mapped or address.sixtofour
    if carried is None and address.teredo is not None:
        carried = address.teredo[1]
    if carried is None and (address in _NAT64 or (address in _COMPATIBLE and int(address) > 1)):
        carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return carried or address


async def screened(host: str, port: int, reach: Reach, *, tls: bool) -> list[str]:
    """Resolve a name and return its addresses, all of which may be reached.

    Raises:
        AddressRefused: one of them may not be.
        OSError: the name does not resolve.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
    for address in addresses:
        problem = address_problem(address, reach, tls=tls)
        if problem:
            shown = host if host == address else f"{host} ({address})"
            raise AddressRefused(
                f"{shown} is {problem}; declare this provider in trimtab.toml, which may reach any address"
                + ("" if reach == "private" else ", or set [outbound] private_addresses = true there")
            )
    return addresses
