"""Ports of everything that is stored, and the backends that satisfy them.

Owns the files of the data folder except the append log: `app.db`, the day files of calls, the snapshot.
Promises: one writer a file; idempotent inserts; migrations with a backup first; a newer format is refused.
Never decides what to keep: policy comes from the caller. Backends do not know each other.
Entry: the ports `CallStore`, `SpanStore`, `AppStore`, `SnapshotStore`; backends are picked by `serve` alone.
"""

from typing import TYPE_CHECKING

from .alert_port import AlertStore
from .app_port import AppStore, Move
from .atomic import write_atomically
from .nested import Piece, nested
from .ports import (
    BillKey,
    BillQuery,
    BillRow,
    CallQuery,
    CallStore,
    Cube,
    Erasure,
    RollupRow,
    SessionRow,
    SnapshotStore,
    SpendRow,
)
from .span_port import SpanStore, Trace, TraceRow, TraceStore

if TYPE_CHECKING:
    from .as_json import attributes_of, call_json, span_json
    from .lines import LINE_FORMAT, call_line, read_call_line, read_line, span_line

__all__ = [
    "LINE_FORMAT",
    "AlertStore",
    "AppStore",
    "BillKey",
    "BillQuery",
    "BillRow",
    "CallQuery",
    "CallStore",
    "Cube",
    "Erasure",
    "Move",
    "Piece",
    "RollupRow",
    "SessionRow",
    "SnapshotStore",
    "SpanStore",
    "SpendRow",
    "Trace",
    "TraceRow",
    "TraceStore",
    "attributes_of",
    "call_json",
    "call_line",
    "nested",
    "read_call_line",
    "read_line",
    "span_json",
    "span_line",
    "write_atomically",
]


def __getattr__(name: str) -> object:
    # No worker needs them.
    if name in ("attributes_of", "call_json", "span_json"):
        from . import as_json

        return getattr(as_json, name)
    if name in ("LINE_FORMAT", "call_line", "read_call_line", "read_line", "span_line"):
        from . import lines

        return getattr(lines, name)
    raise AttributeError(f"module 'trimtab.storage' has no attribute {name!r}")
