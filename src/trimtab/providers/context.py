"""What a provider's factory is handed besides its specification."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trimtab.access import is_sealed
from trimtab.config import Sources, all_references, expand
from trimtab.types import Clock, ConfigError, Provider, ProviderSpec, SystemClock

Unseal = Callable[[ProviderSpec], str]
"""Returns the plain key of a provider whose key is sealed; ConfigError where it does not open."""


def cannot_unseal(spec: ProviderSpec) -> str:
    """Refuse: for processes that were given nothing to open keys with.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"the key of provider {spec.name!r} is sealed, and this process has nothing to open it with; "
        "call through a running Trimtab"
    )


def reads_sources(spec: ProviderSpec) -> bool:
    """Return whether a provider's secrets come from a file or a command, and so may change while it does not."""
    if spec.reach != "any" or is_sealed(spec.api_key):
        return False
    texts = (spec.api_key, spec.proxy, *spec.headers.values())
    return any(r.kind != "env" for text in texts for r in all_references(text))


Factory = Callable[[ProviderSpec, "ProviderContext"], Provider]
"""What a plugin of the group `trimtab.providers` is."""


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """The process's surroundings, as far as a provider may know them."""

    run_dir: Path = Path()
    """Folder of run-time files, where the own model's endpoint is found."""
    clock: Clock = field(default_factory=SystemClock)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    max_reply_bytes: int = 64 * 1024 * 1024
    unseal: Unseal = cannot_unseal
    """Opens the keys of providers that were added at run time."""
    sources: Sources = field(default_factory=Sources)
    """Reads the files and runs the commands that secrets come from, each once for all providers made with this."""
    factories: dict[str, Factory] = field(default_factory=dict)
    """By kind, as they are found: looking into the plugin table takes 10 ms, and a process is handed many snapshots."""

    def secret(self, spec: ProviderSpec) -> str:
        """Return the provider's key: unsealed, or with `${...}` taken from environment, file or command.

        What was sealed is not expanded: whoever entered it must not read the environment. So keep the result out
        of logs, files and errors.

        Raises:
            ConfigError: a variable without a default is not set, a file or command gives nothing, or the key does
                not open.
        """
        if is_sealed(spec.api_key):
            return self.unseal(spec)
        return self._value(spec.api_key, "api_key") if spec.reach == "any" else spec.api_key

    def expanded(self, spec: ProviderSpec) -> ProviderSpec:
        """Return the specification with `${...}` in key, headers and proxy taken from where they lead.

        Of a provider that was added at run time only the key changes: it is opened.

        Raises:
            ConfigError: as `secret` does.
        """
        if spec.reach != "any":
            return msgspec.structs.replace(spec, api_key=self.secret(spec))
        return msgspec.structs.replace(
            spec,
            api_key=self.secret(spec),
            headers={name: self._value(v, f"headers.{name}") for name, v in spec.headers.items()},
            proxy=self._value(spec.proxy, "proxy"),
        )

    def _value(self, text: str, setting: str) -> str:
        try:
            return expand(text, self.environ, self.sources)
        except ConfigError as error:
            raise ConfigError(f"{setting}: {error.message}") from error

    def openai(self, spec: ProviderSpec) -> Provider:
        """Return a provider of the OpenAI dialect for that specification."""
        from trimtab.providers.openai import provider

        return provider(spec, self)
