"""Alerts: rules and how they stand, what happened, webhooks and what they were sent."""

import asyncio
from typing import cast, get_args

from starlette.responses import Response

from trimtab.api import AlertRow
from trimtab.console.admin.form import Form, form_page, once, page_fields
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.types import AlertKind, AlertRule, WebhookFormat

KINDS: tuple[str, ...] = get_args(AlertKind)
FORMATS: tuple[str, ...] = get_args(WebhookFormat)

SHOWN = 50
"""Events and deliveries on the page, newest first."""

_FLAGS = ("true", "false")


async def show(visit: Visit) -> Response:
    """Return rules, history, webhooks and deliveries."""
    alerts = visit.control.alerts
    rules, events, webhooks, deliveries = await asyncio.gather(
        alerts.rules(), alerts.events(limit=SHOWN), alerts.webhooks(), alerts.deliveries(limit=SHOWN)
    )
    if visit.project:
        rules = [row for row in rules if row.rule.project in ("", visit.project)]
    return await visit.page(
        "alerts.html",
        title=visit.t("nav.alerts"),
        rules=[(row, shown(row, row.value), shown(row, row.threshold)) for row in rules],
        events=events,
        webhooks=webhooks,
        deliveries=deliveries,
        **page_fields(),
    )


def shown(row: AlertRow, value: float | None) -> str:
    """Return a rule's value as people read it; empty where there is none.

    >>> from trimtab.types import AlertRule
    >>> row = AlertRow(rule=AlertRule(name="e", kind="error_rate"), owner="file", state="ok", since_us=0, value=None,
    ...     about="", unit="share", below=False, threshold=0.05, clear=0.03, window_s=300)
    >>> shown(row, row.threshold), shown(row, None)
    ('5 %', '')
    """
    if value is None:
        return ""
    number = value * 100 if row.unit == "share" else value
    unit = {"share": " %", "ms": " ms", "s": " s", "count": ""}[row.unit]
    return f"{number:.3g}{unit}" if number < 1000 else f"{number:,.0f}{unit}"


async def ask(visit: Visit) -> Response:
    """Return the form for a new rule."""
    present = {"kind": "error_rate", "enabled": "true", "min_calls": "20", "hold_s": "0", "window_s": "0"}
    return await _new(visit, Form(visit, {}, present | {"project": visit.project}))


async def make(visit: Visit) -> Response:
    """Add a rule."""
    form = await Form.read(visit)
    rule = await _read(visit, form, form.name("name"))
    if any(row.rule.name == rule.name for row in await visit.control.alerts.rules()):
        form.problem("name", "taken", name=rule.name)
    if form.ok:
        with form.blaming():
            await visit.control.alerts.put_rule(visit.actor, rule)
            return visit.redirect("/alerts", done="alert_made")
    return await _new(visit, form)


async def open_one(visit: Visit) -> Response:
    """Return one rule, with the forms that change and remove it."""
    row = await _rule(visit)
    return await _page(visit, row, Form(visit, {}, _present(row.rule)))


async def change(visit: Visit) -> Response:
    """Change a rule."""
    row = await _rule(visit)
    form = await Form.read(visit)
    rule = await _read(visit, form, row.rule.name)
    if form.ok:
        with form.blaming():
            await visit.control.alerts.put_rule(visit.actor, rule)
            return visit.redirect("/alerts", done="saved")
    return await _page(visit, row, form)


async def remove(visit: Visit) -> Response:
    """Remove a rule."""
    row = await _rule(visit)
    form = await Form.read(visit)
    if form.ok:
        with form.blaming():
            await visit.control.alerts.remove_rule(visit.actor, row.rule.name)
            return visit.redirect("/alerts", done="alert_removed")
    return await _page(visit, row, form)


async def ask_webhook(visit: Visit) -> Response:
    """Return the form for a new webhook."""
    return await _new_webhook(visit, Form(visit, {}, {"format": "standard"}))


async def make_webhook(visit: Visit) -> Response:
    """Add a webhook, and show the secret that signs: here, and nowhere else ever."""
    form = await Form.read(visit)
    name = form.name("name")
    url = form.text("url", needed=True, longest=2048)
    kind = form.choice("format", FORMATS)
    if any(row.name == name for row in await visit.control.alerts.webhooks()):
        form.problem("name", "taken", name=name)
    if form.ok:
        with form.blaming():
            secret = await visit.control.alerts.put_webhook(
                visit.actor, name, url=url, secret=None, format=cast("WebhookFormat", kind)
            )
            if not secret:
                return visit.redirect("/alerts", done="webhook_made")
            title = visit.t("alert.webhook_made")
            return await visit.page("webhook_made.html", title=title, text=secret, name=name)
    return await _new_webhook(visit, form)


async def test_webhook(visit: Visit) -> Response:
    """Send a test event, and say what became of it."""
    result = await visit.control.alerts.test_webhook(visit.actor, visit.path_params["name"])
    if visit.partial:
        return visit.fragment("webhook_test.html", result=result)
    return await visit.page("webhook_tested.html", title=visit.t("alert.webhook_test"), result=result)


async def remove_webhook(visit: Visit) -> Response:
    """Remove a webhook."""
    await visit.control.alerts.remove_webhook(visit.actor, visit.path_params["name"])
    return visit.redirect("/alerts", done="webhook_removed")


async def _read(visit: Visit, form: Form, name: str) -> AlertRule:
    project = form.text("project", longest=64)
    if project and project not in [known.name for known in await visit.control.objects.projects()]:
        form.problem("project", "no_project", name=project)
    told = [part.strip() for part in form.text("webhooks", longest=1000).split(",")]
    return AlertRule(
        name=name,
        kind=cast("AlertKind", form.choice("kind", KINDS)),
        threshold=_number(form, "threshold"),
        clear=_number(form, "clear"),
        window_s=form.number("window_s", most=86_400) or None,
        hold_s=form.number("hold_s", most=86_400),
        min_calls=form.number("min_calls", most=1_000_000_000),
        project=project,
        webhooks=tuple(part for part in told if part),
        enabled=form.choice("enabled", _FLAGS) == "true",
    )


def _number(form: Form, field: str) -> float | None:
    """Return a number above 0; None where the field is empty."""
    text = form.text(field, longest=30)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e12:
        form.problem(field, "above_zero")
        return None
    return value


def _present(rule: AlertRule) -> dict[str, str]:
    def text(value: float | None) -> str:
        return "" if value is None else f"{value:g}"

    return {
        "kind": rule.kind,
        "threshold": text(rule.threshold),
        "clear": text(rule.clear),
        "window_s": str(rule.window_s or 0),
        "hold_s": str(rule.hold_s),
        "min_calls": str(rule.min_calls),
        "project": rule.project,
        "webhooks": ", ".join(rule.webhooks),
        "enabled": "true" if rule.enabled else "false",
    }


async def _rule(visit: Visit) -> AlertRow:
    return visit.named(await visit.control.alerts.rules(), "alert", lambda row: row.rule.name)


async def _new(visit: Visit, form: Form) -> Response:
    fields = {"title": visit.t("alert.new"), "kinds": KINDS, "flags": _FLAGS}
    return await form_page(visit, "alert_new.html", form, **fields)


async def _page(visit: Visit, row: AlertRow, form: Form) -> Response:
    events = await visit.control.alerts.events(rule=row.rule.name, limit=SHOWN)
    fields = {
        "title": row.rule.name,
        "row": row,
        "now": shown(row, row.value),
        "threshold": shown(row, row.threshold),
        "clear": shown(row, row.clear),
        "events": events,
        "kinds": KINDS,
        "flags": _FLAGS,
    }
    return await form_page(visit, "alert.html", form, **fields)


async def _new_webhook(visit: Visit, form: Form) -> Response:
    fields = {"title": visit.t("alert.webhook_new"), "formats": FORMATS}
    return await form_page(visit, "webhook_new.html", form, **fields)


ROUTES = (
    Route("GET", "/alerts", show),
    Route("GET", "/alerts/-/new", ask, "editor"),
    Route("POST", "/alerts/-/new", once(make), "editor"),
    Route("GET", "/alerts/-/webhook", ask_webhook, "admin"),
    Route("POST", "/alerts/-/webhook", once(make_webhook), "admin"),
    Route("GET", "/alerts/{name}", open_one),
    Route("POST", "/alerts/{name}", once(change), "editor"),
    Route("POST", "/alerts/{name}/remove", once(remove), "editor"),
    Route("POST", "/webhooks/{name}/test", once(test_webhook), "editor"),
    Route("POST", "/webhooks/{name}/remove", once(remove_webhook), "admin"),
)
