"""Alerts: rules, what happened, webhooks."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.alert_port import AlertRow, WebhookRow, WebhookTest
from trimtab.api.replies import actor_of, control_of, read_json, read_query, reply
from trimtab.api.table import Nothing, Route
from trimtab.types import AlertEvent, AlertKind, AlertRule, Delivery, WebhookFormat

Name = Annotated[str, Meta(max_length=64)]


class RuleFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be said of a rule; what is left out has its kind's default."""

    kind: AlertKind
    threshold: Annotated[float, Meta(gt=0, lt=1e12)] | None = None
    clear: Annotated[float, Meta(gt=0, lt=1e12)] | None = None
    window_s: Annotated[int, Meta(ge=60, le=86_400)] | None = None
    hold_s: Annotated[int, Meta(ge=0, le=86_400)] = 0
    min_calls: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 20
    project: Name = ""
    webhooks: Annotated[tuple[Name, ...], Meta(max_length=20)] = ()
    enabled: bool = True


class RuleList(msgspec.Struct, frozen=True, kw_only=True):
    """All rules and how they stand."""

    alerts: list[AlertRow]


class EventFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which events."""

    rule: Name = ""
    before: Annotated[str, Meta(max_length=64, description="Id of the last page's last event.")] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class EventList(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, newest first."""

    events: list[AlertEvent]


class DeliveryFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries."""

    webhook: Name = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class DeliveryList(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent or is to be, newest first."""

    deliveries: list[Delivery]


class WebhookFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be said of a webhook; what is left out stays as it is."""

    url: Annotated[str, Meta(max_length=2048)] | None = None
    secret: Annotated[str, Meta(max_length=200)] | None = None
    format: WebhookFormat | None = None
    """Of a new one: `standard`."""


class WebhookList(msgspec.Struct, frozen=True, kw_only=True):
    """All webhooks."""

    webhooks: list[WebhookRow]


class PutWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was added or changed."""

    name: str
    secret: str = ""
    """What was made to sign with: shown here, and never again."""


async def list_rules(request: Request) -> Response:
    """Return all rules."""
    return reply(RuleList(alerts=await control_of(request).alerts.rules()))


async def put_rule(request: Request) -> Response:
    """Add or change a rule."""
    fields = await read_json(request, RuleFields)
    rule = AlertRule(name=request.path_params["name"], **msgspec.structs.asdict(fields))
    await control_of(request).alerts.put_rule(actor_of(request), rule)
    return reply(Nothing())


async def remove_rule(request: Request) -> Response:
    """Remove a rule."""
    await control_of(request).alerts.remove_rule(actor_of(request), request.path_params["name"])
    return reply(Nothing())


async def list_events(request: Request) -> Response:
    """Return what happened."""
    wanted = read_query(request, EventFields)
    events = await control_of(request).alerts.events(
        rule=wanted.rule, before=wanted.before, limit=wanted.limit
    )
    return reply(EventList(events=events))


async def list_deliveries(request: Request) -> Response:
    """Return what was sent or is to be."""
    wanted = read_query(request, DeliveryFields)
    found = await control_of(request).alerts.deliveries(webhook=wanted.webhook, limit=wanted.limit)
    return reply(DeliveryList(deliveries=found))


async def list_webhooks(request: Request) -> Response:
    """Return all webhooks."""
    return reply(WebhookList(webhooks=await control_of(request).alerts.webhooks()))


async def put_webhook(request: Request) -> Response:
    """Add or change a webhook."""
    name = request.path_params["name"]
    fields = await read_json(request, WebhookFields)
    secret = await control_of(request).alerts.put_webhook(
        actor_of(request), name, url=fields.url, secret=fields.secret, format=fields.format
    )
    return reply(PutWebhook(name=name, secret=secret))


async def remove_webhook(request: Request) -> Response:
    """Remove a webhook."""
    await control_of(request).alerts.remove_webhook(actor_of(request), request.path_params["name"])
    return reply(Nothing())


async def test_webhook(request: Request) -> Response:
    """Send a test event."""
    return reply(
        await control_of(request).alerts.test_webhook(actor_of(request), request.path_params["name"])
    )


ROUTES = (
    Route(
        method="GET", path="/api/v1/alerts", endpoint=list_rules, action="alert.list", role="viewer",
        summary="the alert rules, and how they stand", reply=RuleList,
    ),
    Route(
        method="GET", path="/api/v1/alerts/events", endpoint=list_events, action="alert.list", role="viewer",
        summary="what alert rules found, newest first", query=EventFields, reply=EventList,
    ),
    Route(
        method="PUT", path="/api/v1/alerts/{name}", endpoint=put_rule, action="alert.change", role="editor",
        summary="adds or changes an alert rule", body=RuleFields, reply=Nothing,
    ),
    Route(
        method="DELETE", path="/api/v1/alerts/{name}", endpoint=remove_rule, action="alert.remove",
        role="editor", summary="removes an alert rule", reply=Nothing,
    ),
    Route(
        method="GET", path="/api/v1/webhooks", endpoint=list_webhooks, action="webhook.list", role="viewer",
        summary="the webhooks that alerts tell, without their secrets", reply=WebhookList,
    ),
    Route(
        method="GET", path="/api/v1/webhooks/deliveries", endpoint=list_deliveries, action="webhook.list",
        role="viewer", summary="what was sent to webhooks or is to be, newest first", query=DeliveryFields,
        reply=DeliveryList,
    ),
    Route(
        method="PUT", path="/api/v1/webhooks/{name}", endpoint=put_webhook, action="webhook.change",
        role="admin", summary="adds or changes a webhook; a secret that is made is in this answer only",
        body=WebhookFields, reply=PutWebhook,
    ),
    Route(
        method="DELETE", path="/api/v1/webhooks/{name}", endpoint=remove_webhook, action="webhook.remove",
        role="admin", summary="removes a webhook; what waits for it is given up", reply=Nothing,
    ),
    Route(
        method="POST", path="/api/v1/webhooks/{name}/test", endpoint=test_webhook, action="webhook.test",
        role="editor", summary="sends a test event, and says what became of it", reply=WebhookTest,
    ),
)  # fmt: skip
"""Every route of these nouns."""
