"""What Trimtab is tested with, for its users and for authors of plugins too.

Owns the fake provider (in process, and as a server on a real socket), its scripts and named faults, the
frozen clock, and one conformance kit per port.
Promises: the same script gives the same bytes; a healthy reply is what the real API sends; a fault does what
its name says and states what must be made of it; nothing here needs the network beyond 127.0.0.1.
Never used on the way of a real call.
Entry: `FakeServer`, `FakeProvider`, `check_provider`; on the command line `python -m trimtab.testing`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clock import FrozenClock
    from .default import echo
    from .fault import Fault
    from .faults import FAULTS
    from .limiters import check_limiter
    from .provider import FakeProvider
    from .providers import Rig, check_provider
    from .reply import Ask, Choice, Scripted, ToolCall, split_tokens
    from .script import Script
    from .server import FakeServer, Seen
    from .sinks import check_sink
    from .stores import check_app_store, check_call_store, check_snapshot_store, check_span_store
    from .wire.plan import Pace, Scale

__all__ = [
    "FAULTS",
    "Ask",
    "Choice",
    "FakeProvider",
    "FakeServer",
    "Fault",
    "FrozenClock",
    "Pace",
    "Rig",
    "Scale",
    "Script",
    "Scripted",
    "Seen",
    "ToolCall",
    "check_app_store",
    "check_call_store",
    "check_limiter",
    "check_provider",
    "check_sink",
    "check_snapshot_store",
    "check_span_store",
    "echo",
    "split_tokens",
]

_HOMES = {
    "FAULTS": "faults",
    "Ask": "reply",
    "Choice": "reply",
    "FakeProvider": "provider",
    "FakeServer": "server",
    "Fault": "fault",
    "FrozenClock": "clock",
    "Pace": "wire.plan",
    "Rig": "providers",
    "Scale": "wire.plan",
    "Script": "script",
    "Scripted": "reply",
    "Seen": "server",
    "ToolCall": "reply",
    "check_app_store": "stores",
    "check_call_store": "stores",
    "check_limiter": "limiters",
    "check_provider": "providers",
    "check_sink": "sinks",
    "check_snapshot_store": "stores",
    "check_span_store": "stores",
    "echo": "default",
    "split_tokens": "reply",
}


def __getattr__(name: str) -> object:
    """Load what is asked for, and nothing else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
