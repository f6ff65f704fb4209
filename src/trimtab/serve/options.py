"""What `trimtab up` is told, and what it tells its children."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from trimtab.config import Console, Data, Gateway, Own

ChildKind = Literal["recorder", "control", "worker", "model"]

EXIT_OK = 0
EXIT_USAGE = 2
"""The configuration is at fault."""
EXIT_INFRASTRUCTURE = 3
"""The folder is held, a port is taken, or a process would not start."""

EXIT_NO_RESTART = 78
"""A child's way to say that starting it again cannot help (sysexits.h, EX_CONFIG)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """Options of `trimtab up`; what is None stands as configured."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    console_port: int | None = None
    workers: int | None = None
    data: Path | None = None


class ChildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """All a child needs to know. Sent over its life line, not in `argv`: a URL in it may hold a password."""

    kind: ChildKind
    index: int
    data_dir: Path
    config: Path | None
    gateway: Gateway
    console: Console
    data: Data
    own: Own

    @property
    def name(self) -> str:
        """Name among its siblings: `worker-1`, `recorder`, ..."""
        return f"worker-{self.index}" if self.kind == "worker" else self.kind

    @property
    def title(self) -> str:
        """Title for `ps`."""
        return f"trimtab: {self.name.replace('-', ' ')}"
