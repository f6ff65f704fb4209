"""The `Alerts` port kept in memory."""

from typing import Any

from trimtab.api import AlertRow, WebhookRow, WebhookTest
from trimtab.telemetry.alerts import KINDS, clear_of, shown_url, threshold_of, window_of
from trimtab.types import AlertEvent, AlertRule, CallerError, Delivery, NotFound, new_id


class FakeAlerts:
    """Rules by name, with the state that `states` says."""

    def __init__(self, control: Any) -> None:
        self._control = control
        self.held: dict[str, AlertRule] = {}
        self.states: dict[str, tuple[str, float | None]] = {}
        self.hooks: dict[str, WebhookRow] = {}
        self.happened: list[AlertEvent] = []
        self.sent: list[Delivery] = []
        self.takes = True

    async def rules(self) -> list[AlertRow]:
        return [self._row(rule) for _, rule in sorted(self.held.items())]

    def _row(self, rule: AlertRule) -> AlertRow:
        kind = KINDS[rule.kind]
        state, value = self.states.get(rule.name, ("unknown", None))
        return AlertRow(
            rule=rule, owner="file" if rule.name.startswith("file") else "store", state=state,
            since_us=self._control.now_us, value=value, about="", unit=kind.unit, below=kind.below,
            threshold=threshold_of(rule), clear=clear_of(rule), window_s=window_of(rule),
        )  # fmt: skip

    async def put_rule(self, actor: Any, rule: AlertRule) -> None:
        for name in rule.webhooks:
            if name not in self.hooks:
                raise CallerError(f"there is no webhook {name!r}", param="webhooks")
        if rule.clear is not None and rule.clear != clear_of(rule):
            raise CallerError("clear must lie on the other side", param="clear")
        self.held[rule.name] = rule
        self._control.note(actor, "alert.change", rule.name)

    async def remove_rule(self, actor: Any, name: str) -> None:
        if self.held.pop(name, None) is None:
            raise NotFound(f"there is no alert {name!r}")
        self._control.note(actor, "alert.remove", name)

    async def events(self, *, rule: str = "", before: str = "", limit: int = 100) -> list[AlertEvent]:
        return [e for e in reversed(self.happened) if rule in ("", e.rule)][:limit]

    async def deliveries(self, *, webhook: str = "", limit: int = 100) -> list[Delivery]:
        return [d for d in reversed(self.sent) if webhook in ("", d.webhook)][:limit]

    async def webhooks(self) -> list[WebhookRow]:
        return [hook for _, hook in sorted(self.hooks.items())]

    async def put_webhook(self, actor: Any, name: str, *, url: Any, secret: Any, format: Any) -> str:
        if not str(url).startswith("https://"):
            raise CallerError("url: no URL", param="url")
        self.hooks[name] = WebhookRow(
            name=name, url=shown_url(url), format=format, owner="store", signed=format == "standard",
            created_us=self._control.now_us,
        )  # fmt: skip
        self._control.note(actor, "webhook.create", name)
        return "whsec_dGhlIHNlY3JldCBvZiB0aGlzIHdlYmhvb2s=" if format == "standard" else ""

    async def remove_webhook(self, actor: Any, name: str) -> None:
        if self.hooks.pop(name, None) is None:
            raise NotFound(f"there is no webhook {name!r}")
        self._control.note(actor, "webhook.remove", name)

    async def test_webhook(self, actor: Any, name: str) -> WebhookTest:
        if name not in self.hooks:
            raise NotFound(f"there is no webhook {name!r}")
        self._control.note(actor, "webhook.test", name)
        message = "" if self.takes else "answered 500"
        return WebhookTest(ok=self.takes, took_ms=12, status=204 if self.takes else 500, message=message)


def fill(alerts: FakeAlerts, now_us: int) -> None:
    """Add rules in every state, webhooks of both formats, and a history."""
    rules = (
        AlertRule(name="errors", kind="error_rate", project="shop", webhooks=("ops", "chat")),
        AlertRule(name="slow", kind="latency_p95", threshold=8000, enabled=False),
        AlertRule(name="quiet", kind="no_traffic"),
        AlertRule(name="file-disk", kind="disk_free", webhooks=("ops",)),
        AlertRule(name="spend", kind="budget"),
    )
    alerts.held |= {rule.name: rule for rule in rules}
    alerts.states |= {
        "errors": ("firing", 0.237), "quiet": ("pending", 0.0), "file-disk": ("ok", 0.41), "slow": ("ok", 1200.0),
    }  # fmt: skip
    for name, form in (("ops", "standard"), ("chat", "slack")):
        alerts.hooks[name] = WebhookRow(
            name=name,
            url="https://hooks.example.com/…",
            format=form,
            owner="store",
            signed=form == "standard",
        )
    for n, state in enumerate(("firing", "resolved", "firing", "test")):
        event = AlertEvent(
            id=new_id(), at_us=now_us - n * 60_000_000, rule="errors", kind="error_rate", state=state, value=0.2,
            threshold=0.05, text="errors: 23.7 % of the calls of the last 5 min failed; fires from 5 % on",
        )  # fmt: skip
        alerts.happened.append(event)
        delivery: Any = ("delivered", "waiting", "failed", "delivered")[n]
        alerts.sent.append(
            Delivery(
                id=new_id(), event=event.id, webhook="ops", created_us=event.at_us, state=delivery, tries=n + 1,
                tried_us=event.at_us, status=204 if delivery == "delivered" else 503,
                error="" if delivery == "delivered" else "answered 503",
            )
        )  # fmt: skip
