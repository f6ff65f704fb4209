"""HTTP/1.1 to providers, in one factory: pooled, verified, and closed the moment a call is cancelled.

Owns the sockets to providers. Promises: cancelling a task closes its socket at once, before the reply's head too;
no redirect is followed, no proxy or authority is used that is not configured, nothing is decompressed; a provider
that was added at run time reaches no private address, whatever its name resolves to.
Never retries what may have been answered, and never knows a provider's format.
Why not a ready client: docs/adr/0005-upstream-client.md.
Entry: `Client`.
"""

from .addresses import address_problem, screened
from .client import Client, ClientOptions, Exchange
from .dial import parse_origin

__all__ = ["Client", "ClientOptions", "Exchange", "address_problem", "parse_origin", "screened"]
