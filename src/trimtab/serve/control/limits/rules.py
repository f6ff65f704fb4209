"""Limits and budgets: those of the file are shown, those of the store are added, changed and removed here."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from trimtab.api import BudgetRow, BudgetUse, LimitRow, LimitUse, Published
from trimtab.limits import Use, period_of
from trimtab.serve.control.room import Deed, Room
from trimtab.storage import AppStore
from trimtab.types import NUSD_PER_USD, Actor, BudgetSpec, CallerError, LimitSpec, NotFound

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHOWN: Final = 100
"""Subjects of a rule that are listed."""
_MOST: Final = 500
"""Limits, and budgets: each call is compared with all of them, once a caller."""

Spec = LimitSpec | BudgetSpec


class Rules:
    """How fast calls may come, and what they may cost."""

    _room: Room

    async def limits(self) -> list[LimitRow]:
        """See `api.Objects.limits`."""
        uses = _by_rule(self._room.accounts.uses(), budgets=False)
        stored = await self._room.stores.app(lambda app: app.limits())
        return [_limit_row(spec, owner, uses) for spec, owner in _owned(self._room.base.limits, stored)]

    async def budgets(self) -> list[BudgetRow]:
        """See `api.Objects.budgets`."""
        uses = _by_rule(self._room.accounts.uses(), budgets=True)
        now_us = self._room.clock.now_us()
        stored = await self._room.stores.app(lambda app: app.budgets())
        return [
            _budget_row(spec, owner, uses, now_us) for spec, owner in _owned(self._room.base.budgets, stored)
        ]

    async def put_limit(self, actor: Actor, spec: LimitSpec) -> Published:
        """See `api.Objects.put_limit`."""
        if not (spec.requests_per_minute or spec.tokens_per_minute or spec.concurrency):
            raise CallerError(
                "the limit limits nothing: give requests_per_minute, tokens_per_minute or concurrency",
                param="requests_per_minute",
            )
        held = await self._room.stores.app(lambda app: app.limits())
        return await self._put(actor, "limit", spec, held)

    async def put_budget(self, actor: Actor, spec: BudgetSpec) -> Published:
        """See `api.Objects.put_budget`."""
        if spec.amount_nusd <= 0:
            raise CallerError("amount_usd must be above 0, by a billionth at least", param="amount_usd")
        held = await self._room.stores.app(lambda app: app.budgets())
        return await self._put(actor, "budget", spec, held)

    async def remove_limit(self, actor: Actor, name: str) -> Published:
        """See `api.Objects.remove_limit`."""
        return await self._remove(actor, "limit", LimitSpec, name)

    async def remove_budget(self, actor: Actor, name: str) -> Published:
        """See `api.Objects.remove_budget`."""
        return await self._remove(actor, "budget", BudgetSpec, name)

    async def _put(self, actor: Actor, noun: str, spec: Spec, held: Iterable[Spec]) -> Published:
        _check(spec)
        self._refuse_the_files_rule(noun, spec.name)
        there = {found.name: found for found in held}
        old = there.get(spec.name)
        if old is None and len(there) >= _MOST:
            raise CallerError(f"there are {_MOST} {noun}s already; remove some")
        before = {} if old is None else msgspec.to_builtins(old)
        after = msgspec.to_builtins(spec)
        detail = {
            name: [before.get(name), value] for name, value in after.items() if before.get(name) != value
        }
        async with self._room.changing:
            deed = Deed(
                action=f"{noun}.create" if old is None else f"{noun}.change", object=spec.name, detail=detail
            )
            generation = await self._room.change(actor, deed, lambda app: app.put_rule(spec))
        return await self._room.wait_for(generation)

    async def _remove(
        self, actor: Actor, noun: str, kind: type[LimitSpec] | type[BudgetSpec], name: str
    ) -> Published:
        self._refuse_the_files_rule(noun, name)

        def names(app: AppStore) -> set[str]:
            return {spec.name for spec in (app.limits() if kind is LimitSpec else app.budgets())}

        async with self._room.changing:
            if name not in await self._room.stores.app(names):
                raise NotFound(
                    f"there is no {noun} {name[:80]!r}; `trimtab {noun}s list` shows those there are",
                    param="name",
                )
            deed = Deed(action=f"{noun}.remove", object=name)
            generation = await self._room.change(actor, deed, lambda app: app.remove_rule(kind, name))
        return await self._room.wait_for(generation)

    def _refuse_the_files_rule(self, noun: str, name: str) -> None:
        base = self._room.base
        declared: Iterable[Spec] = base.limits if noun == "limit" else base.budgets
        if name in {spec.name for spec in declared}:
            raise CallerError(
                f"the configuration file declares the {noun} {name!r}; change it there", param="name"
            )


def _check(spec: Spec) -> None:
    if _NAME.fullmatch(spec.name) is None:
        raise CallerError(
            f"{spec.name[:80]!r} cannot be a name: it has 1 to 64 letters, digits, '.', '_' and '-', and begins with "
            "a letter or digit",
            param="name",
        )
    for field in ("key", "project", "route", "model"):
        text = getattr(spec, field)
        if len(text) > 256 or not text.isprintable():
            raise CallerError(f"{field} has at most 256 characters, all printable", param=field)


def _owned(base: Iterable[Spec], stored: Iterable[Spec]) -> list[tuple[Spec, str]]:
    declared = {spec.name for spec in base}
    return [*((spec, "file") for spec in base), *((s, "store") for s in stored if s.name not in declared)]


def _by_rule(uses: Iterable[Use], *, budgets: bool) -> dict[str, list[Use]]:
    found: dict[str, list[Use]] = {}
    for use in uses:
        if bool(use.end_us) == budgets:
            found.setdefault(use.rule, []).append(use)
    return found


def _limit_row(spec: Spec, owner: str, uses: dict[str, list[Use]]) -> LimitRow:
    assert isinstance(spec, LimitSpec), "limits alone"
    mine = uses.get(spec.name, [])
    shown = tuple(
        LimitUse(
            subject=use.subject,
            under_way=use.under_way,
            requests_left=use.requests_left,
            tokens_left=use.tokens_left,
        )
        for use in mine[:_SHOWN]
    )
    return LimitRow(spec=spec, owner="file" if owner == "file" else "store", subjects=len(mine), uses=shown)


def _budget_row(spec: Spec, owner: str, uses: dict[str, list[Use]], now_us: int) -> BudgetRow:
    assert isinstance(spec, BudgetSpec), "budgets alone"
    mine, amount = uses.get(spec.name, []), spec.amount_nusd
    start_us, end_us = (mine[0].start_us, mine[0].end_us) if mine else period_of(spec.period, now_us)
    left = [max(amount - use.spent_nusd - use.reserved_nusd, 0) for use in mine]
    shown = tuple(
        BudgetUse(
            subject=use.subject,
            spent_nusd=use.spent_nusd,
            reserved_nusd=use.reserved_nusd,
            remaining_nusd=rest,
        )
        for use, rest in zip(mine[:_SHOWN], left, strict=False)
    )
    return BudgetRow(
        spec=spec,
        amount_usd=amount / NUSD_PER_USD,
        owner="file" if owner == "file" else "store",
        start_us=start_us,
        end_us=end_us,
        spent_nusd=sum(use.spent_nusd for use in mine),
        reserved_nusd=sum(use.reserved_nusd for use in mine),
        remaining_nusd=min(left, default=amount),
        subjects=len(mine),
        uses=shown,
    )
