"""How commands reach what they ask about.

Owns HTTP to the admin API of a running Trimtab, and the choice between it and the folder itself.
Promises: a question leaves nothing behind; a refusal says what to do.
Never picks a storage backend: stores come from `serve`.
Entry: `open_calls`, `running`, `admin`.
"""

from .link import admin, quoted, running, running_on
from .store import AdminCalls, Calls, open_calls, read_call
from .traces import trace_json

__all__ = [
    "AdminCalls",
    "Calls",
    "admin",
    "open_calls",
    "quoted",
    "read_call",
    "running",
    "running_on",
    "trace_json",
]
