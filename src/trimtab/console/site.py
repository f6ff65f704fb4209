"""What all visits share: words, templates, files, the clock. Read once, when the console is made."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Literal

from minijinja import Environment

from trimtab.catalog import Catalog
from trimtab.types import Clock, Role, Snapshot, SystemClock

from .costs import Bills
from .once import Once
from .shown import FILTERS
from .sums import Overviews
from .words import Words

Admission = Role | Literal["anyone"]
"""The least role that is let in; `anyone`: without signing in."""

MenuGroup = tuple[str, tuple[tuple[str, str, Admission], ...]]
"""A group of the menu: key of its words, and for each page (key of its words, path, role it takes)."""

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
"""What is served from `static/`, by the end of its name; nothing else is."""


@dataclass(frozen=True)
class StaticFile:
    """A file that browsers keep for good: its address changes with what any of them holds."""

    body: bytes
    kind: str


def _static() -> dict[str, StaticFile]:
    found: dict[str, StaticFile] = {}
    todo: list[tuple[str, Traversable]] = [("", files(__package__).joinpath("static"))]
    while todo:
        prefix, folder = todo.pop()
        for entry in folder.iterdir():
            if entry.is_dir():
                todo.append((f"{prefix}{entry.name}/", entry))
            elif kind := _TYPES.get(entry.name.rpartition(".")[2]):
                found[prefix + entry.name] = StaticFile(entry.read_bytes(), kind)
    return found


def _environment() -> Environment:
    """Return the templates; every one escapes what it is given, whatever it is called."""
    folder = files(__package__).joinpath("templates")
    sources = {
        file.name: file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith((".html", ".svg"))
    }
    return Environment(
        templates=sources,
        filters=dict(FILTERS),
        undefined_behavior="strict",
        auto_escape_callback=lambda _name: "html",
        trim_blocks=True,
        lstrip_blocks=True,
        debug=False,
    )


@dataclass(frozen=True)
class Site:
    """What all visits share."""

    bound_to_loopback: bool
    nav: tuple[MenuGroup, ...] = ()
    """The menu."""
    clock: Clock = field(default_factory=SystemClock)
    words: Words = field(default_factory=Words)
    static: Mapping[str, StaticFile] = field(default_factory=lambda: MappingProxyType(_static()))
    templates: Environment = field(default_factory=_environment)
    once: Once = field(default_factory=Once)
    overviews: Overviews = field(default_factory=Overviews)
    bills: Bills = field(default_factory=Bills)
    gateway_url: str = ""
    """Where applications call, for the examples; empty: the machine's health says it."""

    _catalogs: dict[int, Catalog] = field(default_factory=dict)

    def catalog(self, snapshot: Snapshot) -> Catalog:
        """Return the facts and prices that a snapshot stands for; read once a generation (about 10 ms)."""
        if snapshot.generation not in self._catalogs:
            self._catalogs.clear()
            self._catalogs[snapshot.generation] = Catalog.load(snapshot.catalog or None)
        return self._catalogs[snapshot.generation]

    @cached_property
    def version(self) -> str:
        """What the addresses of static files carry."""
        digest = hashlib.sha256()
        for name in sorted(self.static):
            digest.update(name.encode() + self.static[name].body)
        return digest.hexdigest()[:12]
