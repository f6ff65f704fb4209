"""The composition root: from configuration to running processes; the only room that picks backends.

Owns processes, their start, their end and their order; the data folder's lock; the files in `run/`.
Promises: a child that dies is started again; when the supervisor dies, however, all end; a folder has one set
of processes at a time; a bad configuration is refused and never takes down what runs.
Never answers a call itself.
Entry: `up(UpOptions(...))`; `find_running`, `open_local` and `check_config` for the command line.
"""

from typing import TYPE_CHECKING

from .options import UpOptions
from .runfile import Running, find_running

if TYPE_CHECKING:
    from .local import Local, open_local
    from .preflight import check_config
    from .start import up

__all__ = ["Local", "Running", "UpOptions", "check_config", "find_running", "open_local", "up"]


def __getattr__(name: str) -> object:
    if name == "up":
        from .start import up

        return up
    if name in ("Local", "open_local"):
        from . import local

        return getattr(local, name)
    if name == "check_config":
        from .preflight import check_config

        return check_config
    raise AttributeError(f"module 'trimtab.serve' has no attribute {name!r}")
