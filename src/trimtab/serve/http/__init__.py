"""The HTTP/1.1 server of this house: an asyncio protocol around llhttp that runs an ASGI 3 application.

Owns connections, framing, flow control, idle and read deadlines, the drain at a stop.
Promises: one thread, so a request costs no hand-over; a client that goes away is noticed in the same turn of the
loop; a slow client costs a bounded buffer; a reply that the application leaves unfinished is never terminated as if
it were whole; whatever bytes arrive, other connections go on.
Never speaks TLS, HTTP/2 or WebSocket: what needs them stands in front.
Entry: `HttpServer(app, Limits(...))`, then `run(listener, stop)`.
"""

from .limits import Limits
from .server import HttpServer

__all__ = ["HttpServer", "Limits"]
