"""Alerts in `app.db`: rules, webhooks, events, deliveries."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import apsw
import msgspec

from trimtab.storage.alert_port import MOST_EVENTS
from trimtab.types import AlertEvent, AlertRule, Delivery, StorageError, Webhook

_encode = msgspec.json.Encoder().encode
_rule = msgspec.json.Decoder(AlertRule).decode
_webhook = msgspec.json.Decoder(Webhook).decode
_event = msgspec.json.Decoder(AlertEvent).decode
_delivery = msgspec.json.Decoder(Delivery).decode


def add_alerts(connection: apsw.Connection) -> None:
    """Make the tables: a migration."""
    connection.execute(
        """
        CREATE TABLE alert_rule (name TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE webhook (name TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE alert_event (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            rule TEXT NOT NULL,
            state TEXT NOT NULL,
            body BLOB NOT NULL
        );
        CREATE INDEX alert_event_rule ON alert_event (rule);
        CREATE TABLE delivery (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            event TEXT NOT NULL,
            webhook TEXT NOT NULL,
            due_us INTEGER,
            body BLOB NOT NULL
        );
        CREATE INDEX delivery_event ON delivery (event);
        CREATE INDEX delivery_webhook ON delivery (webhook);
        CREATE INDEX delivery_due ON delivery (due_us) WHERE due_us IS NOT NULL;
        """
    )


class AlertRows(ABC):
    """The part of the app store that is about alerts. A `storage.AlertStore`."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[apsw.Connection]: ...

    @abstractmethod
    def _writing(self) -> AbstractContextManager[apsw.Connection]: ...

    def alert_rules(self) -> list[AlertRule]:
        """See `AlertStore.alert_rules`."""
        with self._reading() as connection:
            return [
                _rule(body) for (body,) in connection.execute("SELECT body FROM alert_rule ORDER BY name")
            ]

    def put_alert_rule(self, rule: AlertRule) -> None:
        """See `AlertStore.put_alert_rule`."""
        with self._writing() as connection:
            connection.execute("REPLACE INTO alert_rule VALUES (?, ?)", (rule.name, _encode(rule)))

    def remove_alert_rule(self, name: str) -> bool:
        """See `AlertStore.remove_alert_rule`."""
        with self._writing() as connection:
            connection.execute("DELETE FROM alert_rule WHERE name = ?", (name,))
            return connection.changes() > 0

    def webhooks(self) -> list[Webhook]:
        """See `AlertStore.webhooks`."""
        with self._reading() as connection:
            return [
                _webhook(body) for (body,) in connection.execute("SELECT body FROM webhook ORDER BY name")
            ]

    def put_webhook(self, webhook: Webhook) -> None:
        """See `AlertStore.put_webhook`."""
        with self._writing() as connection:
            connection.execute("REPLACE INTO webhook VALUES (?, ?)", (webhook.name, _encode(webhook)))

    def remove_webhook(self, name: str) -> bool:
        """See `AlertStore.remove_webhook`."""
        with self._writing() as connection:
            for delivery in _deliveries(connection, "WHERE webhook = ? AND due_us IS NOT NULL", (name,)):
                _put(
                    connection,
                    msgspec.structs.replace(delivery, state="failed", error="the webhook was removed"),
                )
            connection.execute("DELETE FROM webhook WHERE name = ?", (name,))
            return connection.changes() > 0

    def add_alert_events(self, events: Sequence[AlertEvent], deliveries: Sequence[Delivery]) -> None:
        """See `AlertStore.add_alert_events`."""
        with self._writing() as connection:
            try:
                connection.executemany(
                    "INSERT INTO alert_event (id, rule, state, body) VALUES (?, ?, ?, ?)",
                    [(event.id, event.rule, event.state, _encode(event)) for event in events],
                )
                connection.executemany(
                    "INSERT INTO delivery (id, event, webhook, due_us, body) VALUES (?, ?, ?, ?, ?)",
                    [(d.id, d.event, d.webhook, _due(d), _encode(d)) for d in deliveries],
                )
            except apsw.ConstraintError as error:
                raise StorageError(
                    "an alert's event or delivery of this id exists already; use types.new_id"
                ) from error
            old = "number <= (SELECT max(number) FROM alert_event) - ?"
            connection.execute(
                f"DELETE FROM delivery WHERE event IN (SELECT id FROM alert_event WHERE {old})",  # noqa: S608
                (MOST_EVENTS,),
            )
            connection.execute(f"DELETE FROM alert_event WHERE {old}", (MOST_EVENTS,))  # noqa: S608

    def alert_events(self, *, rule: str = "", before: str = "", limit: int = 100) -> list[AlertEvent]:
        """See `AlertStore.alert_events`."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT body FROM alert_event WHERE (?1 = '' OR rule = ?1) AND (?2 = '' OR number < "
                "(SELECT number FROM alert_event WHERE id = ?2)) ORDER BY number DESC LIMIT ?3",
                (rule, before, limit),
            )
            return [_event(body) for (body,) in rows]

    def last_alert_events(self) -> list[AlertEvent]:
        """See `AlertStore.last_alert_events`."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT body FROM alert_event WHERE number IN "
                "(SELECT max(number) FROM alert_event WHERE state <> 'test' GROUP BY rule)"
            )
            return [_event(body) for (body,) in rows]

    def deliveries(self, *, webhook: str = "", limit: int = 100) -> list[Delivery]:
        """See `AlertStore.deliveries`."""
        with self._reading() as connection:
            where = "WHERE (?1 = '' OR webhook = ?1) ORDER BY number DESC LIMIT ?2"
            return _deliveries(connection, where, (webhook, limit))

    def due_deliveries(self, now_us: int, *, limit: int = 20) -> list[tuple[Delivery, AlertEvent]]:
        """See `AlertStore.due_deliveries`."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT d.body, e.body FROM delivery AS d JOIN alert_event AS e ON e.id = d.event "
                "WHERE d.due_us <= ? ORDER BY d.due_us LIMIT ?",
                (now_us, limit),
            )
            return [(_delivery(delivery), _event(event)) for delivery, event in rows]

    def put_delivery(self, delivery: Delivery) -> None:
        """See `AlertStore.put_delivery`."""
        with self._writing() as connection:
            _put(connection, delivery)


def _deliveries(connection: apsw.Connection, where: str, values: tuple[object, ...]) -> list[Delivery]:
    rows = connection.execute(f"SELECT body FROM delivery {where}", values)  # noqa: S608
    return [_delivery(body) for (body,) in rows]


def _put(connection: apsw.Connection, delivery: Delivery) -> None:
    values = (_due(delivery), _encode(delivery), delivery.id)
    connection.execute("UPDATE delivery SET due_us = ?, body = ? WHERE id = ?", values)


def _due(delivery: Delivery) -> int | None:
    return delivery.next_us if delivery.state == "waiting" else None
