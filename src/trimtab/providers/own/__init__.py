"""The own model: a small one that runs on this machine, or any GGUF file, or any OpenAI-compatible URL.

Owns the weights' download and cache, the model process's body, and how workers find and ask that process.
Promises: weights are used only when their SHA-256 is the pinned one; the process listens on loopback and
asks for a key that is new at each start; a caller who asks too early is told how far the start has come.
Never starts a process (the supervisor does), never talks HTTP itself (the OpenAI dialect's client does), and
never runs a model inside a gateway worker.
Entry: `provider(spec, context)` for workers, `run_model(options, stop, ready)` for the model process.
"""

from typing import TYPE_CHECKING

from .endpoint import (
    Endpoint,
    Progress,
    is_wanted,
    read_endpoint,
    read_progress,
    want_model,
    write_endpoint,
)
from .names import MODEL_NAME, served_name

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Protocol

    from trimtab.types import Provider, ProviderSpec

    from .child import ModelOptions, run_model
    from .client import OwnProvider
    from .weights import Weights, fetch_weights, find_weights

    class OwnContext(Protocol):
        """What the factory needs of the process around it."""

        @property
        def run_dir(self) -> Path:
            """Folder of run-time files."""
            ...

        def openai(self, spec: ProviderSpec) -> Provider:
            """Return a provider of the OpenAI dialect."""
            ...


__all__ = [
    "MODEL_NAME",
    "Endpoint",
    "ModelOptions",
    "OwnProvider",
    "Progress",
    "Weights",
    "fetch_weights",
    "find_weights",
    "is_wanted",
    "provider",
    "read_endpoint",
    "read_progress",
    "run_model",
    "served_name",
    "want_model",
    "write_endpoint",
]

_LAZY = {
    "ModelOptions": "child",
    "run_model": "child",
    "OwnProvider": "client",
    "Weights": "weights",
    "fetch_weights": "weights",
    "find_weights": "weights",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def provider(spec: "ProviderSpec", context: "OwnContext") -> "Provider":
    """Make the own model's provider; the entry point of the `trimtab.providers` table.

    With `spec.base_url`, or the option `url`, the own model is simply what answers there. Otherwise it is
    the model process, whose endpoint is looked for in `context.run_dir`. Other options: `start_wait_s`,
    seconds a call waits for a starting model (default 8).

    Raises:
        ConfigError: an option cannot be used.
    """
    from .client import own_provider

    return own_provider(spec, context)
