"""Budgets: list with how they stand, add, change, remove. What the configuration file declares is read-only."""

import re
from decimal import Decimal, InvalidOperation
from typing import get_args

from starlette.responses import Response

from trimtab.api import BudgetRow
from trimtab.console.admin.form import Form, form_page, once, outcome, page_fields
from trimtab.console.routes import Route
from trimtab.console.visit import Visit
from trimtab.types import (
    NUSD_PER_USD,
    BudgetPer,
    BudgetPeriod,
    BudgetSpec,
    CallerError,
    NotFound,
    usd_to_nusd,
)

from .limits import matched, seconds, shown

PER: tuple[BudgetPer, ...] = get_args(BudgetPer)
PERIODS: tuple[BudgetPeriod, ...] = get_args(BudgetPeriod)
_MOST_USD = 10**9
_MOST_S = 600
_CHOICES = {"hard": ("hard", "soft"), "strict": ("tail", "strict"), "unpriced": ("allow", "refuse")}
_FRESH = {
    "per": "rule", "period": "month", "hard": "hard", "strict": "tail", "unpriced": "allow",
    "alert_at": "50, 80, 100", "wait_s": "5",
}  # fmt: skip


async def show(visit: Visit) -> Response:
    """Return the list: the file's first, then by name."""
    rows = sorted(await visit.control.objects.budgets(), key=lambda row: (row.owner, row.spec.name))
    return await visit.page("budgets.html", title=visit.t("nav.budgets"), rows=rows, **page_fields())


async def ask(visit: Visit) -> Response:
    """Return the form for a new budget."""
    return await _page(visit, None, Form(visit, {}, _FRESH))


async def add(visit: Visit) -> Response:
    """Add a budget."""
    form = await Form.read(visit)
    name = form.name("name")
    if name in [row.spec.name for row in await visit.control.objects.budgets()]:
        form.problem("name", "taken", name=name)
    spec = _read(form, name)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.put_budget(visit.actor, spec)
            return visit.redirect("/budgets", done=outcome(published, "saved"))
    return await _page(visit, None, form)


async def open_one(visit: Visit) -> Response:
    """Return one budget; with forms where the store owns it and the visitor is an admin."""
    row = await _budget(visit)
    return await _page(visit, row, Form(visit, {}, _present(row.spec)))


async def change(visit: Visit) -> Response:
    """Change a budget of the store's; what is spent goes on counting where it matches the same calls."""
    row = await _budget(visit)
    form = await Form.read(visit)
    spec = _read(form, row.spec.name)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.put_budget(visit.actor, spec)
            return visit.redirect("/budgets", done=outcome(published, "saved"))
    return await _page(visit, row, form)


async def remove(visit: Visit) -> Response:
    """Remove a budget of the store's, once its name was typed."""
    row = await _budget(visit)
    form = await Form.read(visit)
    form.typed("typed_name", row.spec.name)
    if form.ok:
        with form.blaming():
            published = await visit.control.objects.remove_budget(visit.actor, row.spec.name)
            return visit.redirect("/budgets", done=outcome(published, "saved"))
    return await _page(visit, row, form)


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


async def _budget(visit: Visit) -> BudgetRow:
    name = visit.path_params["name"]
    for row in await visit.control.objects.budgets():
        if row.spec.name == name:
            return row
    raise NotFound(f"there is no budget {name!r}")


async def _page(visit: Visit, row: BudgetRow | None, form: Form) -> Response:
    if row is not None and row.owner == "file" and not form.ok:
        raise CallerError(f"the configuration file declares {row.spec.name!r}; change it there")
    title = visit.t("budget.new") if row is None else row.spec.name
    fields = {"title": title, "it": row, "pers": PER, "periods": PERIODS, "choices": _CHOICES}
    return await form_page(visit, "budget.html", form, **fields)


ROUTES = (
    Route("GET", "/budgets", show),
    Route("GET", "/budgets/-/new", ask, "admin"),
    Route("POST", "/budgets/-/new", once(add), "admin"),
    Route("GET", "/budgets/{name}", open_one),
    Route("POST", "/budgets/{name}", once(change), "admin"),
    Route("POST", "/budgets/{name}/remove", once(remove), "admin"),
)
