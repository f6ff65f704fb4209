"""The part of the kit for `AppStore` that is about alerts."""

import msgspec

from trimtab.storage import AppStore
from trimtab.types import AlertEvent, AlertRule, Delivery, Webhook, new_id

from .refusal import refuses

_RULE = AlertRule(name="errors", kind="error_rate", threshold=0.1, webhooks=("ops",))
_HOOK = Webhook(name="ops", url="sealed:v1:x", secret="sealed:v1:y", created_us=5)  # noqa: S106 - no secret


def check_alerts(store: AppStore) -> None:
    """Check what `AppStore` promises of alerts, on a store that has none.

    Raises:
        AssertionError: with the promise that was broken.
    """
    assert store.alert_rules() == [], "there must be no rules yet"
    assert store.webhooks() == [], "there must be no webhooks yet"
    store.put_alert_rule(AlertRule(name="slow", kind="latency_p95"))
    store.put_alert_rule(AlertRule(name="errors", kind="budget"))
    store.put_alert_rule(_RULE)
    assert [rule.name for rule in store.alert_rules()] == ["errors", "slow"], "rules must come by name"
    assert store.remove_alert_rule("slow"), "remove_alert_rule must say that it did"
    assert not store.remove_alert_rule("slow"), "remove_alert_rule must return False where there is none"
    store.put_webhook(Webhook(name="away", url="u"))
    store.put_webhook(_HOOK)
    events = [_event(n, "firing" if n % 2 == 0 else "resolved") for n in range(4)]
    waiting = [
        Delivery(id=new_id(), event=e.id, webhook=w, created_us=1, next_us=10 * n)
        for n, e in enumerate(events)
        for w in ("ops", "away")
    ]
    store.add_alert_events(events, waiting)
    refuses(lambda: store.add_alert_events(events[:1], ()), "the id of an event must be unique")
    store.add_alert_events([_event(9, "test")], ())
    assert [e.state for e in store.alert_events()] == ["test", "resolved", "firing", "resolved", "firing"], (
        "events must come newest first"
    )
    assert store.alert_events(before=events[1].id) == [events[0]], "`before` must go on below"
    assert store.alert_events(rule="other") == [], "events must be found by rule"
    assert store.last_alert_events() == [events[3]], "the newest event of a rule, tests aside"
    due = store.due_deliveries(15)
    assert [d.next_us for d, _ in due] == [0, 0, 10, 10], "what is due must come, the longest due first"
    assert due[0][1] == events[0], "a delivery must come with its event"
    store.put_delivery(msgspec.structs.replace(waiting[0], state="delivered", tries=1, status=200))
    store.put_delivery(msgspec.structs.replace(waiting[2], next_us=999, tries=1))
    assert store.remove_webhook("away"), "remove_webhook must say that it did"
    assert not store.remove_webhook("away"), "remove_webhook must return False where there is none"
    assert store.due_deliveries(15) == [], "what was delivered, put off, or lost its webhook is not due"
    assert [d.state for d in store.deliveries(webhook="away")] == ["failed"] * 4, (
        "what waits for a webhook that is removed is given up"
    )
    store.put_delivery(Delivery(id=new_id(), event="e", webhook="w", created_us=0))
    assert len(store.deliveries()) == 8, "a delivery that is not stored must not appear"


def check_alerts_kept(store: AppStore) -> None:
    """Check that what `check_alerts` left is there after the store was opened again.

    Raises:
        AssertionError: with the promise that was broken.
    """
    assert store.alert_rules() == [_RULE], "rules must be kept"
    assert store.webhooks() == [_HOOK], "webhooks must be kept"
    assert len(store.alert_events()) == 5, "events must be kept"
    assert [d.next_us for d, _ in store.due_deliveries(1000)] == [20, 30, 999], "deliveries must be kept"


def _event(number: int, state: str) -> AlertEvent:
    return msgspec.convert(
        {
            "id": new_id(),
            "at_us": number,
            "rule": "errors",
            "kind": "error_rate",
            "state": state,
            "value": 0.5,
            "threshold": 0.1,
            "text": "x",
        },
        AlertEvent,
    )
