"""URL and secret of a webhook: sealed in the store, as written in the file, in plain for one try."""

import os

import msgspec

from trimtab.access import Seal
from trimtab.config import Sources, expand
from trimtab.telemetry.alerts import Addressed
from trimtab.types import ProviderSpec, Reach, Webhook


def sealed(seal: Seal, webhook: Webhook) -> Webhook:
    """Return a webhook, given in plain, as it may be stored. The secret opens for this URL only."""
    secret = seal.seal(webhook.secret, _bound(webhook.name, webhook.url)) if webhook.secret else ""
    url = seal.seal(webhook.url, _bound(webhook.name, ""))
    return msgspec.structs.replace(webhook, url=url, secret=secret)


def opened(seal: Seal, webhook: Webhook) -> Webhook:
    """Return a webhook in plain. One of the file may have a command run for its secret: not on an event loop.

    Raises:
        ConfigError: it was sealed with another secret, a variable is not set, or a file or command gives nothing.
    """
    if webhook.owner == "file":
        return msgspec.structs.replace(webhook, secret=expand(webhook.secret, os.environ, Sources()))
    url = seal.open(_bound(webhook.name, "", webhook.url))
    secret = seal.open(_bound(webhook.name, url, webhook.secret)) if webhook.secret else ""
    return msgspec.structs.replace(webhook, url=url, secret=secret)


def addressed(seal: Seal, webhook: Webhook, *, private_addresses: bool) -> Addressed:
    """Return where to send, and how far that may lead.

    Raises:
        ConfigError: as `opened`.
    """
    plain = opened(seal, webhook)
    reach: Reach = "any" if webhook.owner == "file" else "private" if private_addresses else "public"
    return Addressed(plain.url, plain.secret, plain.format, reach)


def _bound(name: str, url: str, text: str = "") -> ProviderSpec:
    # No provider has a slash in its name: what is sealed for one never opens as the other.
    return ProviderSpec(name=f"webhook/{name}", kind="webhook", base_url=url, api_key=text)
