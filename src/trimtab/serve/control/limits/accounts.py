"""Limits and budgets as the control process sees them: how they stand, and what the ledger knows of money."""

import asyncio
from typing import Final

from trimtab.ledger import left_by_the_dead
from trimtab.limits import MappedLimiter, RuleBook, Use
from trimtab.serve.control.stores import Stores
from trimtab.serve.data.spending import rule_book, spent_so_far
from trimtab.serve.folder import Layout
from trimtab.serve.log import log
from trimtab.types import Clock, Snapshot, StorageError

_LOOK_S: Final = 0.2
"""How often to look whether a budget wants to know what is spent: calls under it wait until it does."""
_KEEP_S: Final = 1.0
_STORED_S: Final = 0.5
"""What calls that have just ended may take into the store."""
_PATIENCE_S: Final = 60.0
"""How long to wait for the calls of processes that died; then budgets go by what is stored."""


class Accounts:
    """Keeps the limiter's state in step with rules and ledger. On the control process's event loop."""

    def __init__(self, layout: Layout, stores: Stores, clock: Clock) -> None:
        self._layout = layout
        self._stores = stores
        self._limiter = MappedLimiter(layout.limits, clock=clock)
        self._book = RuleBook((), ())
        self._known: frozenset[int] | None = None
        """Budgets that were in force last; None: not known yet."""
        self._left = 0
        """Calls left behind by the dead, as counted when the ledger was asked last."""

    def close(self) -> None:
        """Let the limiter's state go."""
        self._limiter.close()

    async def meet(self, snapshot: Snapshot) -> None:
        """Take over the rules of what is about to be published: for new budgets what is spent is counted first."""
        if self._known is None:
            self._known = await self._published()
        self._book = book = rule_book(snapshot)
        idents = frozenset(rule.ident for rule in book.budgets)
        for rule in book.budgets:
            if rule.ident not in self._known:
                self._limiter.unseed(rule)
        self._known = idents

    async def _published(self) -> frozenset[int]:
        def load(_: object) -> Snapshot | None:
            snapshots = self._stores.snapshots
            return snapshots.load() if snapshots.generation() else None

        try:
            old = await self._stores.app(load)
        except StorageError:
            old = None
        return frozenset() if old is None else frozenset(rule.ident for rule in rule_book(old).budgets)

    def uses(self) -> list[Use]:
        """Return how all rules stand now."""
        if not self._book:
            return []
        return self._limiter.uses([*self._book.limits, *self._book.budgets])

    @property
    def book(self) -> RuleBook:
        """The rules in force."""
        return self._book

    async def keep(self) -> None:
        """Seed budgets as they come, and do what the state needs every second, until cancelled."""
        loop = asyncio.get_running_loop()
        checked_at = 0.0
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._book:
                continue
            try:
                if loop.time() - checked_at >= _KEEP_S:
                    checked_at = loop.time()
                    self._limiter.check()
                await self._seed()
            except StorageError as error:
                log.error("what budgets have spent cannot be counted, calls under new ones wait: %s", error)
                await asyncio.sleep(_KEEP_S)

    async def _seed(self) -> None:
        book, left = self._book, self._limiter.left()
        # Who died may have left a call that cost more than was held for it: the ledger knows.
        rules = self._limiter.unseeded(book.budgets) if left == self._left else list(book.budgets)
        if not rules:
            return
        await self._wait_for_the_recorder()
        now_us = self._limiter.now_us()
        found = await self._stores.calls(lambda calls: spent_so_far(rules, calls, now_us))
        if book is self._book:
            for rule, spent, period in found:
                self._limiter.seed(rule, spent, *period)
            self._left = left

    async def _wait_for_the_recorder(self) -> None:
        """Wait until what processes before us, and those that died, wrote is in the store."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_S
        await asyncio.sleep(_STORED_S)
        while left := await asyncio.to_thread(left_by_the_dead, self._layout.log):
            if loop.time() >= deadline:
                log.error("budgets are counted without %d segments that are not stored yet", len(left))
                return
            await asyncio.sleep(_LOOK_S)
