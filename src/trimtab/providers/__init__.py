"""Who serves models: one folder each, found through the `trimtab.providers` table of entry points.

Owns the sockets to providers and the reading of their formats.
Promises: one request in, one reply out (`types.Provider`); cancelling closes the socket; errors say their consequence.
Never retries, prices, records, or chooses a model: the pipeline does.
Entry: `make_provider(spec, context)`.
"""

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from trimtab.types import Provider, ProviderSpec

from .context import Factory, ProviderContext, Unseal, cannot_unseal, reads_sources

__all__ = ["Factory", "ProviderContext", "Unseal", "cannot_unseal", "make_provider", "reads_sources"]


def make_provider(spec: "ProviderSpec", context: ProviderContext) -> "Provider":
    """Make the provider that a specification describes, through the plugin table, which is asked once for each kind.

    Raises:
        ConfigError: its kind is unknown, or its settings cannot be used.
    """
    factory = context.factories.get(spec.kind)
    if factory is None:
        from trimtab.plugins import load

        factory = context.factories[spec.kind] = cast("Factory", load("trimtab.providers", spec.kind))
    return factory(spec, context)
