"""Two loops beside everything else: one judges the rules every few seconds, one sends what is due."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from trimtab.ledger import Family, publish_families
from trimtab.serve.control.room import Room
from trimtab.serve.log import log
from trimtab.telemetry.alerts import Judge, Outcome, Sender, Standing, next_try_us, window_of
from trimtab.types import AlertEvent, AlertRule, ConfigError, Delivery, TrimtabError, Webhook, new_id

from .gathering import Gathering
from .sealing import addressed

LOOK_S: Final = 5.0
"""Between two looks."""

_SEND_S: Final = 2.0
"""Between two looks for what is due, where nothing new has come."""

_AT_ONCE: Final = 10
"""Deliveries under way together."""


class Watching:
    """Judges and sends."""

    def __init__(
        self,
        room: Room,
        gathering: Gathering,
        sender: Sender,
        rules: Callable[[], Awaitable[list[AlertRule]]],
        webhooks: Callable[[], Awaitable[list[Webhook]]],
    ) -> None:
        self._room = room
        self._gathering = gathering
        self._sender = sender
        self._rules = rules
        self._webhooks = webhooks
        self._judge: Judge | None = None
        self._look_now = asyncio.Event()
        self._send_now = asyncio.Event()

    def standings(self) -> dict[str, Standing]:
        """Return how each rule stood at the last look."""
        return {} if self._judge is None else self._judge.standings()

    def wake(self) -> None:
        """Look again at once."""
        self._look_now.set()

    async def run(self) -> None:
        """Judge and send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_again(self.look, self._look_now, LOOK_S))
            tasks.create_task(_again(self.send_due, self._send_now, _SEND_S))

    async def look(self) -> list[AlertEvent]:
        """Judge all rules once; store and return what has begun or ceased.

        Raises:
            TrimtabError: the stores cannot be read or written; the next look tries again.
        """
        judge = self._judge
        if judge is None:
            last = await self._room.stores.app(lambda app: app.last_alert_events())
            judge = self._judge = Judge(last)
        rules = await self._rules()
        if not rules and not judge.standings():
            return []
        facts = await self._gathering.facts(max((window_of(rule) for rule in rules), default=0))
        events = judge.look(rules, facts)
        if events:
            await self._tell(events, {rule.name: rule for rule in rules})
        await asyncio.to_thread(self._publish)
        return events

    async def _tell(self, events: list[AlertEvent], rules: dict[str, AlertRule]) -> None:
        there = {webhook.name for webhook in await self._webhooks()}
        deliveries = [
            Delivery(id=new_id(), event=event.id, webhook=name, created_us=event.at_us, next_us=event.at_us)
            for event in events
            for name in dict.fromkeys(rules[event.rule].webhooks if event.rule in rules else ())
            if name in there
        ]
        for event in events:
            log.warning("alert %s: %s", event.state, event.text)
        await self._room.stores.app(lambda app: app.add_alert_events(events, deliveries))
        self._send_now.set()

    def _publish(self) -> None:
        """Show in `/metrics` how the rules stand."""
        samples = [("", {"alert": s.rule}, int(s.state == "firing")) for s in self.standings().values()]
        family = Family("trimtab_alert_firing", "gauge", "1 while an alert fires.", samples)
        with contextlib.suppress(OSError):  # a full disk; the console shows the same
            publish_families(self._room.layout.run, "control", [family])

    async def send_due(self) -> None:
        """Try what is due.

        Raises:
            TrimtabError: the store cannot be read or written.
        """
        now_us = self._room.clock.now_us()
        due = await self._room.stores.app(lambda app: app.due_deliveries(now_us, limit=_AT_ONCE))
        if not due:
            return
        webhooks = {webhook.name: webhook for webhook in await self._webhooks()}
        async with asyncio.TaskGroup() as tasks:
            for delivery, event in due:
                tasks.create_task(self.deliver(delivery, event, webhooks.get(delivery.webhook)))
        if len(due) == _AT_ONCE:
            self._send_now.set()

    async def deliver(
        self, delivery: Delivery, event: AlertEvent, webhook: Webhook | None, *, once: bool = False
    ) -> Delivery:
        """Try a delivery, store what became of it, and return that; `once`: it is not tried again."""
        now_us = self._room.clock.now_us()
        outcome = await self._try(delivery, event, webhook, now_us)
        tries = delivery.tries + 1
        again_us = None if once or not outcome.error else next_try_us(tries, outcome, now_us)
        done = msgspec.structs.replace(
            delivery,
            state="delivered" if not outcome.error else "failed" if again_us is None else "waiting",
            tries=tries,
            next_us=again_us or 0,
            tried_us=now_us,
            status=outcome.status,
            error=outcome.error[:500],
        )
        if done.state == "failed":
            log.error("webhook %s: an alert's event is given up: %s", delivery.webhook, done.error)
        await self._room.stores.app(lambda app: app.put_delivery(done))
        return done

    async def _try(
        self, delivery: Delivery, event: AlertEvent, webhook: Webhook | None, now_us: int
    ) -> Outcome:
        if webhook is None:
            return Outcome(0, "the webhook was removed", again=False)
        try:
            private = self._room.base.policy.private_addresses
            to = await asyncio.to_thread(addressed, self._room.seal, webhook, private_addresses=private)
        except ConfigError as error:
            return Outcome(0, error.message.replace("provider 'webhook/", "webhook '"), again=True)
        return await self._sender.send(to, delivery, event, now_us)


async def _again(work: Callable[[], Awaitable[object]], wake: asyncio.Event, every_s: float) -> None:
    """Do something now and then until cancelled; an error is said, once while it stays the same."""
    said = ""
    while True:
        wake.clear()
        try:
            await work()
            said = ""
        except* (TrimtabError, OSError) as errors:
            text = "; ".join(str(error) for error in errors.exceptions)
            if text != said:
                log.error("alerts: %s", text)
            said = text
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await wake.wait()
