"""The composition root: from configuration to running processes; the only room that picks backends.

Owns processes, their start, their end and their order; the data folder's lock; the files in `run/`.
Promises: a child that dies is started again; when the supervisor dies, however, all end; a folder has one set
of processes at a time; a bad configuration is refused and never takes down what runs.
Never answers a call itself.
Entry: `up(UpOptions(...))`; `in_process` for programs; `open_local`, `back_up` and such for the command line.
"""

from typing import TYPE_CHECKING, Final

from .options import UpOptions
from .runfile import Running, find_running

if TYPE_CHECKING:
    from .data import back_up, install_prices, known_backups, migrate, migration_steps, price_history, restore
    from .folder import Layout
    from .inside import in_process
    from .local import Local, erase_local, open_local, open_reader
    from .preflight import check_config
    from .publish import price_layers
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
    "in_process",
    "install_prices",
    "known_backups",
    "migrate",
    "migration_steps",
    "open_local",
    "open_reader",
    "price_history",
    "price_layers",
    "restore",
    "up",
]

_LAZY: Final = {
    "Layout": "folder",
    "Local": "local",
    "back_up": "data",
    "check_config": "preflight",
    "erase_local": "local",
    "in_process": "inside",
    "install_prices": "data",
    "known_backups": "data",
    "migrate": "data",
    "migration_steps": "data",
    "open_local": "local",
    "open_reader": "local",
    "price_history": "data",
    "price_layers": "publish",
    "restore": "data",
    "up": "start",
}
"""Name → the file or room in which it stands."""


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"trimtab.serve.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'trimtab.serve' has no attribute {name!r}")
