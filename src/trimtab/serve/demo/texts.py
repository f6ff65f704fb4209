"""What the demo's applications are and say: `data/apps.json`, with its slots filled."""

import re
from importlib import resources
from random import Random
from typing import Any, Literal

import msgspec

from trimtab.types import CallKind, Release

_SLOT = re.compile(r"\{(\w+)\}")


class Topic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One conversation: what is asked and answered, turn by turn."""

    turns: tuple[tuple[str, str], ...]
    tool: bool = False
    """Whether the first turn asks the application's tool."""


class Tool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A function that the model may call."""

    name: str
    description: str
    arguments: dict[str, str]
    result: dict[str, str]


class DemoApp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An application of the demo, and how it uses models."""

    name: str
    route: str
    share: int
    """Of 100 calls."""
    stream: float
    kind: CallKind
    hours: Literal["europe", "japan", "even"]
    model: str
    canary: str = ""
    """Model of the route's canary channel; empty: it has none."""
    fallbacks: tuple[str, ...]
    parameters: dict[str, Any]
    client: str
    users: int
    sessions: bool
    feedback: float
    """Share of answered calls that somebody judges."""
    tags: tuple[str, ...]
    system: str
    tool: Tool | None = None
    topics: tuple[Topic, ...]
    own: str
    """What the own model says in the stead of the others."""
    comments: dict[Literal["good", "bad"], tuple[str, ...]]

    def release(self, *, canary: bool) -> Release:
        """Return the release that a channel of the route points at."""
        model = self.canary if canary else self.model
        return Release(model=model, fallbacks=self.fallbacks, parameters=self.parameters)


class Texts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    slots: dict[str, tuple[str, ...]]
    apps: tuple[DemoApp, ...]

    def choose(self, rng: Random) -> dict[str, str]:
        """Return a value for each slot: one set for each conversation."""
        return {name: rng.choice(values) for name, values in self.slots.items()}


def load_texts() -> Texts:
    """Return what the package's file holds."""
    data = (resources.files("trimtab.serve.demo") / "data" / "apps.json").read_bytes()
    return msgspec.json.decode(data, type=Texts)


def fill(text: str, chosen: dict[str, str]) -> str:
    """Return a text with its slots filled; doubled braces stand for single ones.

    >>> fill('{{"order": "{order}"}}', {"order": "HG-1"})
    '{"order": "HG-1"}'
    """
    filled = _SLOT.sub(lambda found: chosen.get(found[1], found[0]), text)
    return filled.replace("{{", "{").replace("}}", "}")
