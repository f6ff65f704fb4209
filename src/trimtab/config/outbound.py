"""Checks of what a provider's requests are sent through and with. No message shows a value: it may be a secret."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from trimtab.types import ConfigError

from .expand import expand

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name by RFC 9110, section 5.1."""

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
"""Not in a header's value (RFC 9110, section 5.5); what is past Latin-1 has no byte there."""


def proxy_problems(proxy: str, env: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with a proxy's URL, as far as the environment lets us see it."""
    url = _expanded(proxy, env)
    if not url:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port or an IPv6 address cannot be read
        good = False
    if not good:
        yield "proxy: no URL of an HTTP proxy; it looks like http://[user:password@]host:port"


def header_problems(headers: Mapping[str, str], env: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with headers, as far as the environment lets us see it."""
    for name, value in headers.items():
        if _TOKEN.fullmatch(name) is None:
            yield f"headers: {name!r} is no header's name; it has letters, digits and !#$%&'*+-.^_`|~ only"
        if _FORBIDDEN.search(_expanded(value, env)):
            yield (
                f"headers: the value of {name!r} (not shown) has a line break, another control character or one "
                "outside Latin-1; remove it"
            )


def _expanded(text: str, env: Mapping[str, str]) -> str:
    """Return the text expanded; empty where a variable is not set yet, which `unset_variables` tells."""
    try:
        return expand(text, env)
    except ConfigError:
        return ""
