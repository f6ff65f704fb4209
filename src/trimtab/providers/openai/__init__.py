"""OpenAI, and everything that speaks its dialect: chat, embeddings, models; plain and streamed.

Owns the wire format's reading and writing for this dialect. Promises: unknown fields pass through unread, a stream
without its end marker is an error, usage is the provider's.
Never retries, prices or records: those are the pipeline's.
Entry: `provider(spec, context)`, the plugin's factory.
"""

from typing import TYPE_CHECKING

from trimtab.types import ProviderSpec

if TYPE_CHECKING:
    from trimtab.providers.context import ProviderContext

    from .client import OpenAIProvider

__all__ = ["provider"]


def provider(spec: ProviderSpec, context: "ProviderContext") -> "OpenAIProvider":
    """Make the provider that a configuration describes.

    Raises:
        ConfigError: the base URL, key or CA file cannot be used.
    """
    from .client import OpenAIProvider

    return OpenAIProvider(
        context.expanded(spec), context.secret(spec), context.clock, context.max_reply_bytes
    )
