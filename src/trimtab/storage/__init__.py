"""Ports of everything that is stored, and the backends that satisfy them.

Owns the files of the data folder except the append log: `app.db`, the day files of calls, the snapshot.
Promises: one writer a file; idempotent inserts; migrations with a backup first; a newer format is refused.
Never decides what to keep: policy comes from the caller. Backends do not know each other.
Entry: the ports `CallStore`, `AppStore`, `SnapshotStore`; backends are picked by `serve` alone.
"""

from .app_port import AppStore, Move
from .atomic import write_atomically
from .ports import CallQuery, CallStore, Cube, Erasure, RollupRow, SessionRow, SnapshotStore

__all__ = [
    "AppStore",
    "CallQuery",
    "CallStore",
    "Cube",
    "Erasure",
    "Move",
    "RollupRow",
    "SessionRow",
    "SnapshotStore",
    "write_atomically",
]
