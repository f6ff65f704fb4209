"""Trimtab: operate language models you do not own.

Call any hosted or own model through one gateway, keep every call in a log that survives a crash, and steer what is
live by changing one row. The rooms and their order stand in docs/explain/architecture.md.
Promises: importing this package reads no file, opens no socket and starts no work.
Entry: `Client` and `observe` for applications; the `trimtab` command for everything else.
"""

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .sdk import AsyncClient, Client, Tracer, observe, span

__all__ = ["AsyncClient", "Client", "Tracer", "__version__", "observe", "span"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import sdk

        return getattr(sdk, name)
    raise AttributeError(f"module 'trimtab' has no attribute {name!r}")
