"""Budgets: list with how they stand, add, change, remove. What the configuration file declares is read-only."""

import re
from decimal import Decimal, InvalidOperation
from typing import get_args

from trimtab.console.admin.form import Form
from trimtab.types import NUSD_PER_USD, BudgetPer, BudgetPeriod, BudgetSpec, usd_to_nusd

from .pages import RulePages, matched, seconds, shown

PER: tuple[BudgetPer, ...] = get_args(BudgetPer)
PERIODS: tuple[BudgetPeriod, ...] = get_args(BudgetPeriod)
_MOST_USD = 10**9
_MOST_S = 600
_CHOICES = {"hard": ("hard", "soft"), "strict": ("tail", "strict"), "unpriced": ("allow", "refuse")}
_FRESH = {
    "per": "rule", "period": "month", "hard": "hard", "strict": "tail", "unpriced": "allow",
    "alert_at": "50, 80, 100", "wait_s": "5",
}  # fmt: skip


def _present(spec: BudgetSpec) -> dict[str, str]:
    return shown(spec) | {
        "amount_usd": f"{Decimal(spec.amount_nusd) / NUSD_PER_USD:f}",
        "hard": "hard" if spec.hard else "soft",
        "strict": "strict" if spec.strict else "tail",
        "alert_at": ", ".join(f"{100 * share:g}" for share in spec.alert_at),
    }


def _read(form: Form, name: str) -> BudgetSpec:
    chosen = {field: form.choice(field, values) for field, values in _CHOICES.items()}
    return BudgetSpec(
        name=name,
        amount_nusd=_amount(form),
        per=form.choice("per", PER),
        period=form.choice("period", PERIODS),
        hard=chosen["hard"] == "hard",
        strict=chosen["strict"] == "strict",
        unpriced=chosen["unpriced"],  # type: ignore[arg-type]  # a choice of those
        alert_at=_alerts(form),
        wait_s=seconds(form, "wait_s", _MOST_S),
        **matched(form),
    )


def _amount(form: Form) -> int:
    text = form.text("amount_usd", needed=True, longest=30).removeprefix("$").replace(",", "")
    try:
        amount = Decimal(text)
        nusd = usd_to_nusd(text) if amount.is_finite() and 0 < amount <= _MOST_USD else 0
    except InvalidOperation:
        nusd = 0
    if nusd < 1:
        form.tell("amount_usd", "budget.amount_shape")
    return nusd


def _alerts(form: Form) -> tuple[float, ...]:
    pieces = [piece for piece in re.split(r"[\s,%、]+", form.text("alert_at")) if piece]
    try:
        shares = tuple(float(piece) / 100 for piece in pieces)
    except ValueError:
        shares = (-1.0,)
    if len(shares) > 16 or not all(0 < share <= 100 for share in shares):
        form.tell("alert_at", "budget.alert_shape")
    return shares


ROUTES = RulePages[BudgetSpec](
    noun="budget",
    rows=lambda visit: visit.control.objects.budgets(),
    put=lambda visit, spec: visit.control.objects.put_budget(visit.actor, spec),
    drop=lambda visit, name: visit.control.objects.remove_budget(visit.actor, name),
    read=_read,
    present=_present,
    fresh=_FRESH,
    fields={"pers": PER, "periods": PERIODS, "choices": _CHOICES},
).routes()
