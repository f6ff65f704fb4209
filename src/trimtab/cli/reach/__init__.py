"""How commands reach what they ask about.

Owns HTTP to the admin API of a running Trimtab, and the choice between it and the folder itself.
Promises: a question leaves nothing behind; a refusal says what to do.
Never picks a storage backend: stores come from `serve`.
Entry: `open_calls`, `running`, `admin`.
"""

from .link import admin, quoted, running, running_on
from .store import AdminCalls, Calls, call_json, open_calls, read_call
from .traces import attributes_of, trace_json

__all__ = [
    "AdminCalls",
    "Calls",
    "admin",
    "attributes_of",
    "call_json",
    "open_calls",
    "quoted",
    "read_call",
    "running",
    "running_on",
    "trace_json",
]
