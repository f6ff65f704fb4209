"""The port of alerts: rules and webhooks added at run time, and what happened."""

from collections.abc import Sequence
from typing import Final, Protocol

from trimtab.types import AlertEvent, AlertRule, Delivery, Webhook

MOST_EVENTS: Final = 10_000
"""Events that are kept, each with its deliveries; the oldest go."""


class AlertStore(Protocol):
    """What is configured of alerts at run time, and their history. A part of `AppStore`."""

    def alert_rules(self) -> list[AlertRule]:
        """Return the rules, by name."""
        ...

    def put_alert_rule(self, rule: AlertRule) -> None:
        """Create or replace a rule."""
        ...

    def remove_alert_rule(self, name: str) -> bool:
        """Remove a rule; False where there is none of that name. Its events stay."""
        ...

    def webhooks(self) -> list[Webhook]:
        """Return the webhooks, by name."""
        ...

    def put_webhook(self, webhook: Webhook) -> None:
        """Create or replace a webhook."""
        ...

    def remove_webhook(self, name: str) -> bool:
        """Remove a webhook; False where there is none of that name. What waits for it is given up."""
        ...

    def add_alert_events(self, events: Sequence[AlertEvent], deliveries: Sequence[Delivery]) -> None:
        """Append events with what is to be delivered of them, in one transaction; the oldest beyond 10,000 go.

        Raises:
            StorageError: an id is taken.
        """
        ...

    def alert_events(self, *, rule: str = "", before: str = "", limit: int = 100) -> list[AlertEvent]:
        """Return events, newest first; `before` is the id of the last page's last."""
        ...

    def last_alert_events(self) -> list[AlertEvent]:
        """Return the newest event of each rule, tests aside."""
        ...

    def deliveries(self, *, webhook: str = "", limit: int = 100) -> list[Delivery]:
        """Return deliveries, newest first."""
        ...

    def due_deliveries(self, now_us: int, *, limit: int = 20) -> list[tuple[Delivery, AlertEvent]]:
        """Return what waits and is due, the longest due first."""
        ...

    def put_delivery(self, delivery: Delivery) -> None:
        """Replace a delivery by what became of it; one that is not stored any more is left out."""
        ...
