"""The composition root: from configuration to running processes; the only room that picks backends.

Owns processes, their start, their end and their order; the data folder's lock; the files in `run/`.
Promises: a child that dies is started again; when the supervisor dies, however, all end; a folder has one set
of processes at a time; a bad configuration is refused and never takes down what runs.
Never answers a call itself.
Entry: `up(UpOptions(...))`; `in_process` for programs; `find_running`, `open_local`, `check_config` for commands.
"""

from typing import TYPE_CHECKING

from .options import UpOptions
from .runfile import Running, find_running

if TYPE_CHECKING:
    from .inside import in_process
    from .local import Local, open_local
    from .preflight import check_config
    from .start import up

__all__ = ["Local", "Running", "UpOptions", "check_config", "find_running", "in_process", "open_local", "up"]


def __getattr__(name: str) -> object:
    if name == "up":
        from .start import up

        return up
    if name == "in_process":
        from .inside import in_process

        return in_process
    if name in ("Local", "open_local"):
        from . import local

        return getattr(local, name)
    if name == "check_config":
        from .preflight import check_config

        return check_config
    raise AttributeError(f"module 'trimtab.serve' has no attribute {name!r}")
