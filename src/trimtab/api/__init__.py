"""The admin HTTP API, `/api/v1/...`: what the command line and the console ask of the control process.

Owns paths, JSON shapes and the token check; one file per noun.
Promises: no answer without the token, nor to a foreign web page or a re-bound name; secrets are masked; a
change returns once every living worker obeys it, or says which do not yet.
Never opens a store, starts a process or reads a file: it asks the `Control` port.
Entry: `make_api(control, token, bound_to_loopback=...)`.
"""

from .app import make_api
from .calls import call_json, call_query
from .port import Control, Published

__all__ = ["Control", "Published", "call_json", "call_query", "make_api"]
