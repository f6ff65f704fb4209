"""The HTTP face of the pipeline, compatible with OpenAI's API: a bare ASGI callable with a table of routes.

Owns paths, headers, statuses and the shape of errors.
Promises: a broken stream ends in an error event and an unterminated body; a client that goes away stops its call;
errors carry a stable code; what is not known passes through.
Never talks to a provider or a store itself, and holds no state.
Entry: `Gateway(core, bound_to_loopback=...)`.
"""

from .app import Gateway

__all__ = ["Gateway"]
