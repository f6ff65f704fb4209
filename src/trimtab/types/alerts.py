"""Alerts: rules on how an installation is doing, what they found, and who is told."""

from typing import Literal

import msgspec

AlertKind = Literal[
    "error_rate",
    "latency_p95",
    "no_traffic",
    "budget",
    "breaker_open",
    "unrecorded",
    "disk_free",
    "disk_budget",
    "recorder_behind",
    "export_failing",
]
"""What a rule looks at; `telemetry.alerts.KINDS` says what each is, in which unit, and from when on it fires."""

AlertState = Literal["ok", "pending", "firing", "unknown"]
"""Below its threshold / above it, not for long enough yet / above it / too little is known to say."""

WebhookFormat = Literal["standard", "slack"]
"""Signed as Standard Webhooks have it / a text, as Slack and what imitates it take."""


class AlertRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule. What is None has its kind's default."""

    name: str
    kind: AlertKind
    threshold: float | None = None
    """Where it fires: in the kind's unit."""
    clear: float | None = None
    """Where it ends: nearer to what is usual than `threshold`, so that a value at the edge changes nothing."""
    window_s: int | None = None
    """How far it looks back, in seconds."""
    hold_s: int = 0
    """For how long the value must be past `threshold`, or `clear`, before anything is said."""
    min_calls: int = 20
    """Calls in the window below which no share and no quantile is judged."""
    project: str = ""
    """Whose calls; empty: everybody's."""
    webhooks: tuple[str, ...] = ()
    """Who is told, by name; none: it shows in console and metrics only."""
    enabled: bool = True


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to send what alerts say."""

    name: str
    url: str
    """Of the file: as written, `${NAME}` unexpanded. Of the store: sealed (`sealed:v1:...`), for it may be a secret."""
    secret: str = ""
    """What signs, likewise: `whsec_` and base64, or any text; empty: it is not signed."""
    format: WebhookFormat = "standard"
    owner: Literal["file", "store"] = "store"
    """Those of the file may lead anywhere; the addresses of those added at run time are screened."""
    created_us: int = 0


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A rule began or ceased to fire."""

    id: str
    at_us: int
    rule: str
    kind: str
    state: Literal["firing", "resolved", "test"]
    value: float
    threshold: float
    text: str
    """One sentence for people, in English."""
    project: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one webhook."""

    id: str
    """Sent as `webhook-id`, the same at every try."""
    event: str
    webhook: str
    created_us: int
    state: Literal["waiting", "delivered", "failed"] = "waiting"
    tries: int = 0
    next_us: int = 0
    """When it is tried again, while it waits."""
    tried_us: int = 0
    status: int = 0
    """HTTP status of the last answer; 0: there was none."""
    error: str = ""
