"""Budgets: what calls may cost."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from trimtab.api.answers import BudgetRow
from trimtab.api.replies import actor_of, control_of, read_json, reply
from trimtab.api.table import Route
from trimtab.types import BudgetPer, BudgetPeriod, BudgetSpec, usd_to_nusd

from .limits import ChangedRule, Matched


class BudgetFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What can be said of a budget; what is left out goes back to its default."""

    amount_usd: Annotated[float, Meta(gt=0, le=10**9)]
    key: Matched = ""
    """Id or name."""
    project: Matched = ""
    route: Matched = ""
    model: Matched = ""
    """`provider/model`, or a beginning of it with a `*` at the end."""
    per: BudgetPer = "rule"
    period: BudgetPeriod = "month"
    hard: bool = True
    strict: bool = False
    unpriced: Literal["allow", "refuse"] = "allow"
    alert_at: Annotated[tuple[Annotated[float, Meta(gt=0, le=100)], ...], Meta(max_length=16)] = (
        0.5,
        0.8,
        1.0,
    )
    wait_s: Annotated[float, Meta(ge=0, le=600)] = 5.0


class BudgetList(msgspec.Struct, frozen=True, kw_only=True):
    """All budgets, of file and store."""

    budgets: list[BudgetRow]


async def list_budgets(request: Request) -> Response:
    """Return all budgets, and how they stand."""
    return reply(BudgetList(budgets=await control_of(request).objects.budgets()))


async def put_budget(request: Request) -> Response:
    """Add a budget, or change one that was added at run time."""
    name = request.path_params["name"]
    fields = msgspec.structs.asdict(await read_json(request, BudgetFields))
    spec = BudgetSpec(name=name, amount_nusd=usd_to_nusd(fields.pop("amount_usd")), **fields)
    published = await control_of(request).objects.put_budget(actor_of(request), spec)
    return reply(ChangedRule(name=name, published=published))


async def remove_budget(request: Request) -> Response:
    """Remove a budget that was added at run time."""
    name = request.path_params["name"]
    published = await control_of(request).objects.remove_budget(actor_of(request), name)
    return reply(ChangedRule(name=name, published=published))


ROUTES = (
    Route(
        method="GET", path="/api/v1/budgets", endpoint=list_budgets, action="budget.list", role="viewer",
        summary="all budgets, of file and store: spent, reserved and remaining now", reply=BudgetList,
    ),
    Route(
        method="PUT", path="/api/v1/budgets/{name}", endpoint=put_budget, action="budget.change", role="admin",
        summary="adds a budget, or changes one that was added at run time", body=BudgetFields, reply=ChangedRule,
    ),
    Route(
        method="DELETE", path="/api/v1/budgets/{name}", endpoint=remove_budget, action="budget.remove",
        role="admin", summary="removes a budget that was added at run time", reply=ChangedRule,
    ),
)  # fmt: skip
"""Every route of this noun."""
