"""Conformance kits for the storage ports: what every backend, ours or a plugin author's, must promise.

Each kit takes `make`, a function that opens the store under test at one and the same place, empty the first
time: the kits close stores and open them again.
"""

from .app_store import check_app_store, check_back_up
from .call_store import check_call_store
from .snapshot_store import check_snapshot_store
from .span_store import check_span_store

__all__ = ["check_app_store", "check_back_up", "check_call_store", "check_snapshot_store", "check_span_store"]
