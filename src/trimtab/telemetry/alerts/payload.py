"""What a webhook gets, and how it is signed.

Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks, spec): headers `webhook-id`,
`webhook-timestamp` and `webhook-signature` = `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, with the
bytes behind the base64 of a secret `whsec_...`. Slack: api.slack.com/messaging/webhooks, a JSON object with `text`.
"""

import base64
import binascii
import hashlib
import hmac
import os
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from trimtab.types import AlertEvent, WebhookFormat

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_secret() -> str:
    """Return a new secret that signs: `whsec_` and base64 of 32 random bytes."""
    return _PREFIX + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()


def event_body(event: AlertEvent, form: WebhookFormat) -> bytes:
    """Return the JSON that says an event in a format."""
    if form == "slack":
        mark = {"firing": ":rotating_light: ", "resolved": ":white_check_mark: "}.get(event.state, "")
        return msgspec.json.encode({"text": mark + _escaped(event.text)})
    at = datetime.fromtimestamp(event.at_us / 1e6, UTC).isoformat(timespec="milliseconds")
    data: dict[str, Any] = {
        "id": event.id,
        "alert": event.rule,
        "kind": event.kind,
        "state": event.state,
        "value": event.value,
        "threshold": event.threshold,
        "project": event.project,
        "text": event.text,
    }
    return msgspec.json.encode(
        {"type": f"alert.{event.state}", "timestamp": at.replace("+00:00", "Z"), "data": data}
    )


def _escaped(text: str) -> str:
    """Take the meaning off the three characters that Slack's markup gives one."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def signed_headers(delivery_id: str, at_s: int, body: bytes, secret: str) -> list[tuple[str, str]]:
    """Return the headers of a delivery; without a secret no signature is among them.

    Args:
        delivery_id: the same at every try, so that who receives it can tell.
        at_s: the time of this try, in seconds since 1970: who receives it refuses what is old.
        body: the body.
        secret: see `Webhook.secret`, in plain.
    """
    headers = [("webhook-id", delivery_id), ("webhook-timestamp", str(at_s))]
    if secret:
        text = f"{delivery_id}.{at_s}.".encode() + body
        digest = hmac.new(_key(secret), text, hashlib.sha256).digest()
        headers.append(("webhook-signature", f"v1,{base64.b64encode(digest).decode()}"))
    return headers


def _key(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass  # somebody's own text that begins alike
    return secret.encode()
