"""The composition root: from configuration to running processes; the only room that picks backends.

Owns processes, their start, their end and their order; the data folder's lock; the files in `run/`.
Promises: a child that dies is started again; when the supervisor dies, however, all end; a folder has one set
of processes at a time; a bad configuration is refused and never takes down what runs.
Never answers a call itself.
Entry: `up(UpOptions(...))`; `find_running`, `open_local`, `check_config`, `back_up` and such for the command line.
"""

from typing import TYPE_CHECKING, Final

from .options import UpOptions
from .runfile import Running, find_running

if TYPE_CHECKING:
    from .data import back_up, known_backups, migrate, migration_steps, restore
    from .folder import Layout
    from .local import Local, erase_local, open_local, open_reader
    from .preflight import check_config
    from .start import up

__all__ = [
    "Layout",
    "Local",
    "Running",
    "UpOptions",
    "back_up",
    "check_config",
    "erase_local",
    "find_running",
    "known_backups",
    "migrate",
    "migration_steps",
    "open_local",
    "open_reader",
    "restore",
    "up",
]

_LAZY: Final = {
    "Layout": "folder",
    "Local": "local",
    "back_up": "data",
    "check_config": "preflight",
    "erase_local": "local",
    "known_backups": "data",
    "migrate": "data",
    "migration_steps": "data",
    "open_local": "local",
    "open_reader": "local",
    "restore": "data",
    "up": "start",
}
"""Name → the file or room in which it stands."""


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"trimtab.serve.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'trimtab.serve' has no attribute {name!r}")
