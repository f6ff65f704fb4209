"""Sending one delivery, and when to try it again."""

import asyncio
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from trimtab.providers.transport import Client, ClientOptions
from trimtab.types import (
    AddressRefused,
    AlertEvent,
    ConfigError,
    Delivery,
    Reach,
    TrimtabError,
    WebhookFormat,
)

from .payload import event_body, signed_headers

_TIMEOUT_S: Final = 10.0
_REPLY_BYTES: Final = 16 * 1024
_PAUSES_S: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14_400)
"""Before the second try, the third, ...; after the last of these it is given up: 8 hours in all."""

_LONGEST_ASKED_S: Final = 3600.0
_URL: Final = re.compile(r"https?://[!-~]+")
_AGAIN: Final = frozenset({408, 425, 429})
"""Of the 4xx, those that another try can help; 5xx all can."""


class Outcome(NamedTuple):
    """What became of one try."""

    status: int
    """0: there was no answer."""
    error: str
    """Empty: it was delivered."""
    again: bool
    """Whether another try can help."""
    retry_after_s: float | None = None


class Addressed(NamedTuple):
    """A webhook with its secrets in plain: lives for one try."""

    url: str
    secret: str
    format: WebhookFormat
    reach: Reach


def url_problem(url: str) -> str:
    """Return what is wrong with a webhook's URL, without showing it; empty where nothing is."""
    if _URL.fullmatch(url) is None or len(url) > 2048:
        return "no URL; it looks like https://host/path, with at most 2,048 characters and no spaces"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "no URL; its port or address cannot be read"
    if not parts.hostname or parts.username or parts.password or parts.fragment:
        return "a URL without user and fragment is needed; put a key into its path or query"
    return ""


def shown_url(url: str) -> str:
    """Return as much of a URL as may be shown: its path may be a secret.

    >>> shown_url("https://hooks.slack.com/services/T0/B0/xyz")
    'https://hooks.slack.com/…'
    """
    if url_problem(url):
        return "…"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" + ("/…" if len(parts.path) > 1 or parts.query else "")


class Sender:
    """Sends; holds nothing between two tries."""

    async def send(self, to: Addressed, delivery: Delivery, event: AlertEvent, now_us: int) -> Outcome:
        """Try once, within 10 seconds. What stands in `Outcome.error` shows neither URL nor secret."""
        if problem := url_problem(to.url):
            return Outcome(0, problem, again=False)
        body = event_body(event, to.format)
        headers = [("User-Agent", "trimtab-alerts")]
        if to.format == "standard":
            headers += signed_headers(delivery.id, now_us // 1_000_000, body, to.secret)
        parts = urlsplit(to.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            client = Client(
                ClientOptions(
                    base_url=f"{parts.scheme}://{parts.netloc}",
                    what="webhook",
                    connect_s=_TIMEOUT_S,
                    max_connections=1,
                    headers=tuple(headers),
                    max_reply_bytes=_REPLY_BYTES,
                    reach=to.reach,
                )
            )
        except ConfigError as error:
            return Outcome(0, error.message, again=False)
        try:
            return await self._post(client, path, body)
        finally:
            await client.aclose()

    async def _post(self, client: Client, path: str, body: bytes) -> Outcome:
        try:
            async with asyncio.timeout(_TIMEOUT_S), client.request("POST", path, body) as exchange:
                after = exchange.header(b"retry-after").strip()
                status = exchange.status
        except TimeoutError:
            return Outcome(0, f"no answer within {_TIMEOUT_S:g} s", again=True)
        except AddressRefused as error:
            return Outcome(0, error.message.replace("this provider", "this webhook"), again=False)
        except TrimtabError as error:
            return Outcome(0, error.message, again=True)
        if 200 <= status < 300:
            return Outcome(status, "", again=False)
        again = status >= 500 or status in _AGAIN
        asked_s = float(after) if after.isdigit() and len(after) < 9 else None
        moved = "; it leads elsewhere, and redirects are not followed" if 300 <= status < 400 else ""
        return Outcome(status, f"answered {status}{moved}", again, asked_s)


def next_try_us(tries: int, outcome: Outcome, now_us: int) -> int | None:
    """Return when to try again after so many tries; None: it is given up."""
    if not outcome.again or tries > len(_PAUSES_S):
        return None
    pause_s = float(_PAUSES_S[tries - 1])
    if outcome.retry_after_s is not None:
        pause_s = max(min(outcome.retry_after_s, _LONGEST_ASKED_S), pause_s)
    return now_us + int(pause_s * 1_000_000)
