"""The Release: the only deployable, immutable and named by its content."""

import hashlib
from typing import Any

import msgspec


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides how an answer is made, except the words of the caller.

    A bare `provider/model` call is the trivial release: only `model` is set.
    """

    model: str
    """`provider/model`."""
    fallbacks: tuple[str, ...] = ()
    """Models to try in this order when `model` cannot answer."""
    parameters: dict[str, Any] = {}
    """Defaults for the request's parameters; what the caller sends wins."""
    prompt: str | None = None
    """`name@hash` of a prompt version."""
    tools: tuple[dict[str, Any], ...] = ()
    output_schema: dict[str, Any] | None = None
    guard_pack: str | None = None
    """`name@hash` of a guard pack."""

    def canonical(self) -> bytes:
        """Return the canonical JSON (RFC 8785) that the id is made of."""
        import rfc8785

        fields = {k: v for k, v in msgspec.to_builtins(self).items() if v not in (None, [], {}, ())}
        return rfc8785.dumps(fields)

    def id(self) -> str:
        """Return the content hash: `rel_` and the first 32 hex digits of a SHA-256."""
        return "rel_" + hashlib.sha256(self.canonical()).hexdigest()[:32]


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """The observed identity of a hosted model: `openai/gpt-4o@e7`. The provider's name is only a label."""

    model: str
    number: int = 1

    def __str__(self) -> str:
        return f"{self.model}@e{self.number}"


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant: every name, key and row belongs to one."""

    name: str = "default"
    payload: str = "full"
    """The project's payload policy; see `PayloadPolicy`."""
    title: str = ""
    """What people call it; empty: its name."""
    retention_days: int = 0
    """Days that its calls are kept; 0: as long as the installation keeps calls."""
    created_us: int = 0
