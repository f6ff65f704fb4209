"""One reading of the configuration after the other: the hash of what it came to, and what changed."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.config import Config, differences, visible
from trimtab.serve.log import log
from trimtab.storage import write_atomically

from .restarts import Started
from .watching import Stamp, stamps

FILE_NAME: Final = "configuration.json"
"""Beside `app.db`: what the last reading came to, without secrets, to compare the next one with."""

MOST_CHANGES: Final = 200
LONGEST_VALUE: Final = 300


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one reading came to."""

    sha256: str
    """Of the whole configuration without its secrets; what `trimtab config show` shows."""
    changes: tuple[tuple[str, str, str], ...] = ()
    """Setting, before and after as JSON; empty where there was none. The first `MOST_CHANGES`."""
    left_out: int = 0
    """Further changes."""
    notes: tuple[str, ...] = ()
    """Settings that differ from what the processes were started with, and when they take effect."""
    first: bool = False
    """There was nothing to compare with."""

    def detail(self) -> dict[str, Any]:
        """Return it as the audit log keeps it."""
        kept: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in kept.items() if value}


class Readings:
    """Compares each configuration with the one before it."""

    def __init__(self, folder: Path, hide: Callable[[str], str]) -> None:
        """Prepare.

        Args:
            folder: where the last reading is kept.
            hide: stands in for a secret, so that two can be told apart and nothing else.
        """
        self._path = folder / FILE_NAME
        self._hide = hide
        self._started: Started | None = None
        self.last = Reading(sha256="")
        self.watched: tuple[Path, ...] = ()
        self.stamps: Stamp | None = ()
        """How the watched files looked when they were read."""
        """Files whose change asks for another reading; none where that is not wished."""

    def take(self, config: Config) -> Reading:
        """Note that a configuration is in force from now on."""
        self._started = self._started or Started(config)
        tree = visible(config, os.environ, self._hide)
        raw = msgspec.json.encode(tree, order="sorted")
        before = self._before()
        changes = [] if before is None else differences(before, tree)
        self.last = Reading(
            sha256=hashlib.sha256(raw).hexdigest(),
            changes=tuple((name, _short(a), _short(b)) for name, a, b in changes[:MOST_CHANGES]),
            left_out=max(0, len(changes) - MOST_CHANGES),
            notes=self._started.notes(config),
            first=before is None,
        )
        self.watched = _watched(config)
        self.stamps = stamps(self.watched)
        if before is None or changes:
            self._keep(raw)
        return self.last

    def workers_replaced(self) -> None:
        """Note that all workers were started anew, under what was read last."""
        if self._started is not None:
            self._started.workers_replaced()

    def _before(self) -> dict[str, Any] | None:
        try:
            found = msgspec.json.decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read (%s): what changed since is not known", self._path, error)
            return None
        return found if isinstance(found, dict) else None

    def _keep(self, raw: bytes) -> None:
        try:
            write_atomically(self._path, raw, durable=False)
        except OSError as error:
            # A full disk must not keep a good configuration from being used.
            log.warning("%s cannot be written: %s", self._path, error.strerror)


def _watched(config: Config) -> tuple[Path, ...]:
    if not config.watch or config.source is None:
        return ()
    secrets = [s.name for found in config.secret_sources().values() for s in found if s.kind == "file"]
    prices = [config.catalog_file] if config.catalog_file else []
    return tuple(dict.fromkeys((config.source, *prices, *map(Path, secrets))))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
