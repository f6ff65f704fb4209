"""What a provider's factory is handed besides its specification."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trimtab.config import expand
from trimtab.types import Clock, Provider, ProviderSpec, SystemClock


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """The process's surroundings, as far as a provider may know them."""

    run_dir: Path = Path()
    """Folder of run-time files, where the own model's endpoint is found."""
    clock: Clock = field(default_factory=SystemClock)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    max_reply_bytes: int = 64 * 1024 * 1024

    def secret(self, spec: ProviderSpec) -> str:
        """Return the provider's key, with `${NAME}` taken from the environment.

        Raises:
            ConfigError: a variable without a default is not set.
        """
        return expand(spec.api_key, self.environ)

    def expanded(self, spec: ProviderSpec) -> ProviderSpec:
        """Return the specification with `${NAME}` in key, headers and proxy taken from the environment.

        Raises:
            ConfigError: a variable without a default is not set.
        """
        return msgspec.structs.replace(
            spec,
            api_key=self.secret(spec),
            headers={name: expand(value, self.environ) for name, value in spec.headers.items()},
            proxy=expand(spec.proxy, self.environ),
        )

    def openai(self, spec: ProviderSpec) -> Provider:
        """Return a provider of the OpenAI dialect for that specification."""
        from trimtab.providers.openai import provider

        return provider(spec, self)
