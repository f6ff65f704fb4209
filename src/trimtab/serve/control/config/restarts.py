"""Settings that belong to a process and not to the snapshot: a reload does not bring them, and says so."""

from typing import Any, Final

import msgspec

from trimtab.config import Config

_SECTIONS: Final = ("gateway", "console", "data", "own", "telemetry")

_OF_WORKERS: Final = frozenset(
    {"gateway.backpressure", "gateway.idle_timeout_s", "gateway.drain_s", "data.durability"}
)
"""Taken up by new workers on the same socket."""

_OF_THE_START: Final = frozenset({"gateway.host", "gateway.port", "gateway.workers", "data.dir"})


class Started:
    """What the processes were started with."""

    def __init__(self, config: Config) -> None:
        self._held = _settings(config)
        self._latest = self._held

    def notes(self, config: Config) -> tuple[str, ...]:
        """Return a sentence for each setting that differs from what the processes have, and takes a restart."""
        self._latest = _settings(config)
        changed = [name for name, value in self._latest.items() if self._held.get(name) != value]
        return tuple(
            f"{name} has changed; that takes effect {when}" for name in changed if (when := _when(name))
        )

    def workers_replaced(self) -> None:
        """Note that the workers have taken up what was read last."""
        self._held = self._held | {n: v for n, v in self._latest.items() if n in _OF_WORKERS}


def _when(name: str) -> str:
    if name in _OF_WORKERS:
        return "with `trimtab restart`, which fails no call"
    if name in _OF_THE_START or name.partition(".")[0] in ("console", "own", "telemetry"):
        return "at the next start of `trimtab up`"
    return ""


def _settings(config: Config) -> dict[str, Any]:
    return {
        f"{section}.{name}": value
        for section in _SECTIONS
        for name, value in msgspec.structs.asdict(getattr(config, section)).items()
    }
