"""Checking that a store refuses."""

from collections.abc import Callable

from trimtab.types import StorageError


def refuses(action: Callable[[], object], promise: str) -> None:
    """Check that an action raises `StorageError`; `promise` is what was broken if it does not."""
    try:
        action()
    except StorageError:
        return
    raise AssertionError(promise)
