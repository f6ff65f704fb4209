"""The desk: who may change what of alerts, and the two loops that judge and send."""

import ipaddress
import re
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from trimtab.api import AlertRow, WebhookRow, WebhookTest
from trimtab.providers.transport import screened
from trimtab.serve.control.room import Deed, Room
from trimtab.serve.log import log
from trimtab.telemetry.alerts import (
    KINDS,
    Breakers,
    Budgets,
    NoBreakers,
    NoBudgets,
    Sender,
    Standing,
    clear_of,
    new_secret,
    shown_url,
    threshold_of,
    url_problem,
    window_of,
)
from trimtab.types import (
    Actor,
    AddressRefused,
    AlertEvent,
    AlertRule,
    CallerError,
    ConfigError,
    Delivery,
    NotFound,
    Reach,
    Webhook,
    WebhookFormat,
    new_id,
)

from .gathering import Gathering
from .sealing import opened, sealed
from .watching import Watching

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST: Final = 200
"""Rules, and webhooks, of the store."""


class AlertDesk:
    """See `api.Alerts`."""

    def __init__(self, room: Room, budgets: Budgets | None = None, breakers: Breakers | None = None) -> None:
        self._room = room
        self._sender = Sender()
        gathering = Gathering(room, budgets or NoBudgets(), breakers or NoBreakers())
        self._watching = Watching(room, gathering, self._sender, self._all_rules, self._all_webhooks)

    async def run(self) -> None:
        """Judge every few seconds and send what is due, until cancelled."""
        await self._watching.run()

    # Rules

    async def rules(self) -> list[AlertRow]:
        """See `api.Alerts.rules`."""
        mine = {rule.name for rule in self._file_rules()}
        standings = self._watching.standings()
        rows = [
            _row(rule, "file" if rule.name in mine else "store", standings.get(rule.name))
            for rule in await self._all_rules()
        ]
        return sorted(rows, key=lambda row: row.rule.name)

    async def put_rule(self, actor: Actor, rule: AlertRule) -> None:
        """See `api.Alerts.put_rule`."""
        _check_name(rule.name)
        if rule.name in {found.name for found in self._file_rules()}:
            raise CallerError(
                f"alert {rule.name!r} is declared by the configuration file; change it there", param="name"
            )
        webhooks = {hook.name for hook in await self._all_webhooks()}
        for name in rule.webhooks:
            if name not in webhooks:
                known = ", ".join(sorted(webhooks)[:20]) or "none so far"
                raise CallerError(f"there is no webhook {name[:80]!r}; there are: {known}", param="webhooks")
        if rule.clear is not None and rule.clear != clear_of(rule):
            side = "above" if KINDS[rule.kind].below else "below"
            raise CallerError(
                f"clear ({rule.clear:g}) must lie {side} the threshold ({threshold_of(rule):g})",
                param="clear",
            )
        async with self._room.changing:
            held = {found.name: found for found in await self._room.stores.app(lambda app: app.alert_rules())}
            _check_room("alerts", len(held), new=rule.name not in held)
            old = held.get(rule.name)
            deed = Deed(
                action="alert.change" if old else "alert.create",
                object=rule.name,
                detail=_differences(old, rule),
            )
            await self._room.do(actor, deed, lambda app: app.put_alert_rule(rule))
        self._watching.wake()

    async def remove_rule(self, actor: Actor, name: str) -> None:
        """See `api.Alerts.remove_rule`."""
        if name in {found.name for found in self._file_rules()}:
            raise _of_the_file("alert", name)
        async with self._room.changing:
            if name not in {rule.name for rule in await self._room.stores.app(lambda app: app.alert_rules())}:
                raise NotFound(
                    f"there is no alert {name[:80]!r}; `trimtab alerts list` shows those there are"
                )
            await self._room.do(
                actor, Deed(action="alert.remove", object=name), lambda app: app.remove_alert_rule(name)
            )
        self._watching.wake()

    async def events(self, *, rule: str = "", before: str = "", limit: int = 100) -> list[AlertEvent]:
        """See `api.Alerts.events`."""
        return await self._room.stores.app(
            lambda app: app.alert_events(rule=rule, before=before, limit=limit)
        )

    async def deliveries(self, *, webhook: str = "", limit: int = 100) -> list[Delivery]:
        """See `api.Alerts.deliveries`."""
        return await self._room.stores.app(lambda app: app.deliveries(webhook=webhook, limit=limit))

    # Webhooks

    async def webhooks(self) -> list[WebhookRow]:
        """See `api.Alerts.webhooks`."""
        found = await self._all_webhooks()
        return sorted((self._webhook_row(webhook) for webhook in found), key=lambda row: row.name)

    async def put_webhook(
        self, actor: Actor, name: str, *, url: str | None, secret: str | None, format: WebhookFormat | None
    ) -> str:
        """See `api.Alerts.put_webhook`."""
        _check_name(name)
        if name in {found.name for found in self._file_webhooks()}:
            raise _of_the_file("webhook", name)
        if url is not None:
            await self._check_url(url)
        _check_secret(secret)
        async with self._room.changing:
            held = {found.name: found for found in await self._room.stores.app(lambda app: app.webhooks())}
            _check_room("webhooks", len(held), new=name not in held)
            old = self._plain(held[name]) if name in held else None
            url = url if url is not None else old.url if old else ""
            format = format or (old.format if old is not None else "standard")
            if not url:
                raise CallerError("url is needed for a new webhook: where to send", param="url")
            made = ""
            if secret is None:
                moved = old is not None and old.url != url
                secret = old.secret if old is not None and not moved else ""
                if not secret and format == "standard":
                    secret = made = new_secret()
            new = Webhook(
                name=name,
                url=url,
                secret=secret,
                format=format,
                created_us=held[name].created_us if name in held else self._room.clock.now_us(),
            )
            deed = Deed(
                action="webhook.change" if old else "webhook.create",
                object=name,
                detail={"url": shown_url(url), "format": format, "secret": "set" if secret else "none"},
            )
            stored = sealed(self._room.seal, new)
            await self._room.do(actor, deed, lambda app: app.put_webhook(stored))
        return made

    async def remove_webhook(self, actor: Actor, name: str) -> None:
        """See `api.Alerts.remove_webhook`."""
        if name in {found.name for found in self._file_webhooks()}:
            raise _of_the_file("webhook", name)
        async with self._room.changing:
            if name not in {found.name for found in await self._room.stores.app(lambda app: app.webhooks())}:
                raise _no_webhook(name)
            deed = Deed(action="webhook.remove", object=name)
            await self._room.do(actor, deed, lambda app: app.remove_webhook(name))

    async def test_webhook(self, actor: Actor, name: str) -> WebhookTest:
        """See `api.Alerts.test_webhook`. It stands in history and deliveries like any event."""
        webhook = {found.name: found for found in await self._all_webhooks()}.get(name)
        if webhook is None:
            raise _no_webhook(name)
        await self._room.note(actor, Deed(action="webhook.test", object=name))
        now_us = self._room.clock.now_us()
        event = AlertEvent(
            id=new_id(), at_us=now_us, rule=f"test of {name}", kind="", state="test", value=0.0, threshold=0.0,
            text=f"This is a test of the webhook {name}, asked for by {actor.name}.",
        )  # fmt: skip
        delivery = Delivery(id=new_id(), event=event.id, webhook=name, created_us=now_us, next_us=1 << 62)
        await self._room.stores.app(lambda app: app.add_alert_events([event], [delivery]))
        began = self._room.clock.monotonic()
        done = await self._watching.deliver(delivery, event, webhook, once=True)
        took_ms = round((self._room.clock.monotonic() - began) * 1000)
        return WebhookTest(
            ok=done.state == "delivered", took_ms=took_ms, status=done.status, message=done.error
        )

    async def _check_url(self, url: str) -> None:
        """Refuse what no alert would ever reach; a name is judged at each delivery, by what it resolves to then.

        Raises:
            CallerError: with the reason.
        """
        if problem := url_problem(url):
            raise CallerError(f"url: {problem}", param="url")
        parts = urlsplit(url)
        host = parts.hostname or ""
        reach: Reach = "private" if self._room.base.policy.private_addresses else "public"
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return
        try:
            await screened(host, parts.port or 0, reach, tls=parts.scheme == "https")
        except AddressRefused as error:
            said = error.message.replace("this provider", "this webhook")
            raise CallerError(f"url: {said}", param="url") from error

    # What file and store hold

    def _file_rules(self) -> tuple[AlertRule, ...]:
        return self._room.config.alerts if self._room.config is not None else ()

    def _file_webhooks(self) -> tuple[Webhook, ...]:
        return self._room.config.webhooks if self._room.config is not None else ()

    async def _all_rules(self) -> list[AlertRule]:
        mine = self._file_rules()
        named = {rule.name for rule in mine}
        stored = await self._room.stores.app(lambda app: app.alert_rules())
        return [*mine, *(rule for rule in stored if rule.name not in named)]

    async def _all_webhooks(self) -> list[Webhook]:
        mine = self._file_webhooks()
        named = {hook.name for hook in mine}
        stored = await self._room.stores.app(lambda app: app.webhooks())
        return [*mine, *(hook for hook in stored if hook.name not in named)]

    def _webhook_row(self, webhook: Webhook) -> WebhookRow:
        plain = self._plain(webhook)
        return WebhookRow(
            name=webhook.name,
            url=shown_url(plain.url) if plain is not None else "…",
            format=webhook.format,
            owner=webhook.owner,
            signed=bool(webhook.secret) and webhook.format == "standard",
            created_us=webhook.created_us,
        )

    def _plain(self, webhook: Webhook) -> Webhook | None:
        if webhook.owner == "file":
            return webhook  # only its URL is asked for here
        try:
            return opened(self._room.seal, webhook)
        except ConfigError as error:
            log.error("webhook %r: %s", webhook.name, error)
            return None


def _row(rule: AlertRule, owner: Literal["file", "store"], standing: Standing | None) -> AlertRow:
    kind = KINDS[rule.kind]
    return AlertRow(
        rule=rule,
        owner=owner,
        state="unknown" if standing is None else standing.state,
        since_us=0 if standing is None else standing.since_us,
        value=None if standing is None else standing.value,
        about="" if standing is None else standing.about,
        unit=kind.unit,
        below=kind.below,
        threshold=threshold_of(rule),
        clear=clear_of(rule),
        window_s=window_of(rule),
    )


def _of_the_file(what: str, name: str) -> CallerError:
    return CallerError(
        f"{what} {name!r} is declared by the configuration file; change it there", param="name"
    )


def _no_webhook(name: str) -> NotFound:
    return NotFound(f"there is no webhook {name[:80]!r}; `trimtab alerts webhooks` shows those there are")


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise CallerError(
            f"{name[:80]!r} cannot be a name: it has 1 to 64 letters, digits, '.', '_' and '-', and begins with a "
            "letter or digit",
            param="name",
        )


def _check_room(what: str, there: int, *, new: bool) -> None:
    if new and there >= _MOST:
        raise CallerError(f"there are {_MOST} {what} already; remove some")


def _check_secret(secret: str | None) -> None:
    if secret and (len(secret) > 200 or not secret.isprintable() or "${" in secret):
        raise CallerError(
            "secret (not shown) has at most 200 printable characters; the environment is read for webhooks of "
            "trimtab.toml only",
            param="secret",
        )


def _differences(old: AlertRule | None, new: AlertRule) -> dict[str, object]:
    before = {} if old is None else msgspec.structs.asdict(old)
    after = msgspec.structs.asdict(new)
    return {
        field: [before.get(field), value]
        for field, value in after.items()
        if field != "name" and before.get(field) != value
    }
