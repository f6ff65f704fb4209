"""The part of the port that is about alerts, and what it answers."""

from typing import Literal, Protocol

import msgspec

from trimtab.types import Actor, AlertEvent, AlertRule, AlertState, Delivery, WebhookFormat


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and how it stands."""

    rule: AlertRule
    owner: Literal["file", "store"]
    """Whether the configuration file declares it, and it is read-only here."""
    state: AlertState
    since_us: int
    """When it came into this state; 0: not known."""
    value: float | None
    """What it saw last; None: too little is known."""
    about: str
    """Which of several things that is."""
    unit: Literal["share", "ms", "s", "count"]
    below: bool
    """Whether it fires below its threshold."""
    threshold: float
    """In force: the rule's own, or its kind's."""
    clear: float
    window_s: int


class WebhookRow(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it may be shown: no secret in it."""

    name: str
    url: str
    """Its scheme and host; the path may be a secret."""
    format: WebhookFormat
    owner: Literal["file", "store"]
    signed: bool
    created_us: int = 0


class WebhookTest(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a test event."""

    ok: bool
    took_ms: int
    status: int = 0
    message: str = ""


class Alerts(Protocol):
    """Rules on how the installation is doing, what they found, and who is told."""

    async def rules(self) -> list[AlertRow]:
        """Return all rules, of file and store, by name."""
        ...

    async def put_rule(self, actor: Actor, rule: AlertRule) -> None:
        """Add a rule, or change one of the store's.

        Raises:
            CallerError: the name is the file's, or a field cannot be used.
        """
        ...

    async def remove_rule(self, actor: Actor, name: str) -> None:
        """Remove a rule of the store's.

        Raises:
            NotFound: there is none of that name.
            CallerError: the file declares it.
        """
        ...

    async def events(self, *, rule: str = "", before: str = "", limit: int = 100) -> list[AlertEvent]:
        """Return what happened, newest first; `before` is an id."""
        ...

    async def deliveries(self, *, webhook: str = "", limit: int = 100) -> list[Delivery]:
        """Return what was sent or is to be, newest first."""
        ...

    async def webhooks(self) -> list[WebhookRow]:
        """Return all webhooks, of file and store, by name."""
        ...

    async def put_webhook(
        self, actor: Actor, name: str, *, url: str | None, secret: str | None, format: WebhookFormat | None
    ) -> str:
        """Add a webhook, or change one of the store's; URL and secret are sealed before they are stored.

        Args:
            actor: who asks.
            name: its name.
            url: where to; None keeps the present one.
            secret: what signs, in plain; None keeps the present one. For a new one of format `standard`, None makes
                one.
            format: what is sent; None keeps the present one, `standard` for a new one.

        Returns:
            The secret that was made: in this answer and nowhere else, ever. Empty where none was.

        Raises:
            CallerError: the name is the file's, or a field cannot be used (a URL to a private network: SSRF).
        """
        ...

    async def remove_webhook(self, actor: Actor, name: str) -> None:
        """Remove a webhook of the store's; what waits for it is given up.

        Raises:
            NotFound: there is none of that name.
            CallerError: the file declares it.
        """
        ...

    async def test_webhook(self, actor: Actor, name: str) -> WebhookTest:
        """Send a test event at once, and return what became of it.

        Raises:
            NotFound: there is none of that name.
        """
        ...
