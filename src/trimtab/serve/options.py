"""What `trimtab up` is told, and what it tells its children."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from trimtab.config import Console, Data, Gateway, Own, Telemetry

ChildKind = Literal["recorder", "control", "worker", "model", "exporter"]

EXIT_OK = 0
EXIT_USAGE = 2
"""The configuration is at fault."""
EXIT_INFRASTRUCTURE = 3
"""The folder is held, a port is taken, or a process would not start."""
EXIT_NO_RESTART = 78
"""A child's way to say that starting it again cannot help (sysexits.h, EX_CONFIG)."""

GRACE_S = 20.0
"""How long a worker that another has taken over from keeps idle connections open.

Longer than common clients keep one that they do not use (httpx, and so openai: 5 s; aiohttp: 15 s): those close it
themselves, and what they send before that is answered.
"""

READY = b"ready\n"
"""What a child writes into its life line once it does its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """Options of `trimtab up`; what is None stands as configured."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    console_port: int | None = None
    workers: int | None = None
    data: Path | None = None
    model_path: Path | None = None
    demo: bool = False
    """Fill the project `demo` first."""


class ChildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """All a child needs to know. Sent over its life line, not in `argv`: a URL in it may hold a password."""

    kind: ChildKind
    index: int
    data_dir: str
    config: str | None
    gateway: Gateway
    console: Console
    data: Data
    own: Own
    telemetry: Telemetry = Telemetry()
    restarts: int = 0
    """How often this child was started again; above 0, others live and serve what was published."""
    listener: int = -1
    """Descriptor of the socket to accept on; -1: this kind accepts nothing."""
    shift: int = 0
    """Which of two workers that take turns in one place: while one takes over from the other, both are there."""

    @property
    def name(self) -> str:
        """Name among its siblings: `worker-1`, `worker-1b` (which takes turns with it), `recorder`, ..."""
        return f"worker-{self.index}{'b' * self.shift}" if self.kind == "worker" else self.kind

    @property
    def vital(self) -> bool:
        """Whether nothing is up without it; what is not vital may fail, and is tried again with patience."""
        return self.kind not in ("model", "exporter")

    @property
    def title(self) -> str:
        """Title for `ps`."""
        return f"trimtab: {self.name.replace('-', ' ')}"


def url_of(host: str, port: int) -> str:
    """Return the base URL of a listener, as a program on this machine would call it.

    >>> url_of("127.0.0.1", 8400), url_of("::", 80)
    ('http://127.0.0.1:8400', 'http://[::1]:80')
    """
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether a listener on `host` can be reached from this machine only."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
